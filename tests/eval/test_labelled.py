"""Labelled files as evaluation reads them: several of them, rows that are refused, other columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.schema import INTENTS
from eval.labelled import read_labelled_files

HEADER = f"text,{','.join(INTENTS)},shop\n"


def test_mentions_of_several_files_keep_ids_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "late again,0,0,1,0,0, North \nlovely,0,0,2,1,0,South\n")
    (tmp_path / "b.csv").write_text(HEADER + "how much is it,1,0,0,0,1,\n")
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    data = read_labelled_files(paths, ["shop", "region"])
    assert [mention.id for mention in data.mentions] == [f"{path}:1" for path in paths]
    assert data.extra == {"shop": ["North", ""], "region": ["", ""]}
    assert [(file.mentions, len(file.refused)) for file in data.files] == [(1, 1), (1, 0)]
    assert data.any_refused
    said = capsys.readouterr().err
    assert "a.csv: row 2 refused: Invalid label" in said
    assert "a.csv: no row has a brand; the first whose handle" in said
    assert "not read" not in said
    (tmp_path / "b.csv").write_text(HEADER.replace("shop", "brand,shop") + "how much is it,1,0,0,0,1,a,\n")
    alone = read_labelled_files([tmp_path / "b.csv"])
    assert ([mention.id for mention in alone.mentions], alone.any_refused) == (["1"], False)
    said = capsys.readouterr().err
    assert "b.csv: columns that are not read: shop" in said
    assert "no row has a brand" not in said
