"""The command line: what each command takes, and which package does it. Nothing is computed here."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import TypeAlias

from data.schema import MENTION_FIELDS, FirstreplyError, Mention, MentionError, mention_from_row
from model.bundle import CUTS, DEFAULT_BUNDLE, TIER_BUNDLES

Handler = Callable[[argparse.Namespace], int]

_GROUPS = ("brand_key", "source", "id")
_TRACKERS = ("mlflow", "tensorboard", "trackio", "wandb")
_EXIT_STATUS = "exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some rows were refused"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status and says what failed in one line on stderr."""
    options = parser().parse_args(arguments)
    run: Handler = options.run
    try:
        status = run(options)
        sys.stdout.flush()  # so that a reader who has gone is met here
    except FirstreplyError as error:
        print(f"firstreply: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("data", "model", "training", "eval", "serving"):
            raise
        extra = f"; install it with: pip install 'firstreply[{options.extra}]'" if options.extra else ""
        print(f"firstreply: this command needs the package {error.name}{extra}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("firstreply: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone ("| head"); nothing is left to say, not even when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _serve(options: argparse.Namespace) -> int:
    from serving.limits import Limits
    from serving.server import ServeSettings, serve

    return serve(
        ServeSettings(
            bundle=options.bundle,
            host=options.host,
            port=options.port,
            brands=options.brands,
            policy=options.policy,
            cut=options.cut,
            remember=options.remember,
            workers=options.workers,
            keys=options.keys,
            no_keys=options.no_keys,
            bundles=options.bundles,
            shadow=options.shadow,
            shadow_share=options.shadow_share,
            closed=options.close,
            origins=options.allow_origin,
            traces=options.traces,
            log_requests=options.access_log,
            log_json=options.log == "json",
            drain_seconds=options.drain,
            limits=Limits().changed(options.limit),
        )
    )


def _keys_new(options: argparse.Namespace) -> int:
    from serving.keys import new_key

    settings = {"admin": options.admin, "per_second": options.per_second, "at_once": options.at_once}
    key = new_key(options.file, options.name, **settings)
    print(f"firstreply: {options.file} has the hash of {options.name}'s key; this is the key:", file=sys.stderr)
    print(key)
    return 0


def _score(options: argparse.Namespace) -> int:
    from serving.bulk import BulkJob, score_file

    job = BulkJob(
        input=options.input,
        output=options.output,
        bundle=options.bundle,
        brands=options.brands,
        policy=options.policy,
        cut=options.cut,
        as_of=options.as_of,
        explain=options.explain,
        remember=options.remember,
    )
    if options.engine == "local":
        if options.address is not None:
            options.parser.error("--address would do nothing here; give --engine ray too, or leave it out")
        return score_file(job)
    if "-" in (job.input, job.output) or job.output is None:
        options.parser.error(
            "--engine ray reads files and writes a folder; give INPUT and -o OUTPUT, neither of them -"
        )
    from serving.on_ray.job import score_on_ray

    return score_on_ray(job, options.address)


def _train(options: argparse.Namespace) -> int:
    from eval.behaviour import check_bundle
    from training.recipe import describe_recipes, load_recipe

    if options.recipe == "list":
        print(describe_recipes())
        return 0
    _check_train(options)
    if options.reproduce is not None:
        from training.reproduce import reproduce

        return reproduce(options.reproduce, options.out, check_bundle)
    from training.job import TrainJob

    job = TrainJob(
        train=tuple(options.train),
        out=options.out,
        recipe=load_recipe(options.recipe, base=options.base, epochs=options.epochs, seed=options.seed),
        dev=options.dev,
        brands=options.brands,
        teachers=tuple(options.teacher),
        averaged=tuple(options.average_with),
        compared=tuple(options.compare_with),
        exclude_sources=tuple(options.exclude_source),
        permissive=options.licence == "permissive",
        name=options.name,
        version=options.model_version,
        keep_fp32=options.keep_fp32,
        keep_encoder=options.keep_encoder,
        report_to=options.report_to,
    )
    if options.cross_validate is not None:
        from training.cross_validate import CrossValidation, cross_validate

        return cross_validate(
            job, CrossValidation(options.cross_validate, options.group or "brand_key", options.out_of_fold or "csv")
        )
    if options.sweep is not None:
        from training.sweep import sweep

        return sweep(job, options.sweep)
    from training.train import train

    return train(job, check_bundle)


def _check_train(options: argparse.Namespace) -> None:
    """Refuse options of ``train`` that are missing, or that would do nothing beside others."""
    parser: argparse.ArgumentParser = options.parser
    if options.out is None or bool(options.train) == bool(options.reproduce):
        parser.error("give --out, and either --train FILE… or --reproduce RUN_JSON")
    given = {name for name, value in vars(options).items() if value != parser.get_default(name)}
    if options.reproduce is not None:
        idle = given - {"reproduce", "out"}
    elif options.cross_validate is None:
        idle = given & {"group", "out_of_fold"}
    else:
        idle = given & {"compare_with"}
    if options.sweep is not None:
        idle |= given & {"keep_fp32", "keep_encoder", "name", "model_version", "compare_with", "average_with"}
    if idle:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(idle))
        parser.error(f"{names} would do nothing here; leave it out")


def _cascade(options: argparse.Namespace) -> int:
    from training.cascade import CascadeJob, make_cascade

    return make_cascade(
        CascadeJob(
            fast=options.fast,
            full=options.full,
            data=tuple(options.data),
            out=options.out,
            loss=options.loss,
            name=options.name,
            version=options.model_version,
        )
    )


def _calibrate(options: argparse.Namespace) -> int:
    from eval.behaviour import check_bundle
    from training.recalibrate import CalibrateJob, calibrate

    return calibrate(CalibrateJob(bundle=options.bundle, data=tuple(options.data), out=options.out), check_bundle)


def _evaluate(options: argparse.Namespace) -> int:
    if options.fidelity is not None:
        others = (options.train, options.by, options.brands, options.compare, options.held_out, options.seen)
        if any(others) or options.cut != "balanced":
            raise FirstreplyError("--fidelity takes only --bundle and --data; run evaluate again for the rest")
        from eval.fidelity import FidelityJob, fidelity

        return fidelity(FidelityJob(bundle=options.bundle, reference=options.fidelity, data=options.data))
    if options.seen is not None and options.held_out is None:
        raise FirstreplyError("--seen is shown beside --held-out; give that too")
    from eval.evaluate import EvaluateJob, evaluate

    return evaluate(
        EvaluateJob(
            bundle=options.bundle,
            data=options.data,
            out=options.out,
            train=options.train,
            by=options.by,
            cut=options.cut,
            brands=options.brands,
            compare=options.compare,
            held_out=options.held_out,
            seen=options.seen,
        )
    )


def _bench(options: argparse.Namespace) -> int:
    from eval.bench import BenchJob, bench

    return bench(
        BenchJob(
            bundle=options.bundle,
            data=options.data,
            mentions=options.mentions,
            base=options.base,
            turns=options.turns,
            seconds=options.seconds,
            peers=options.peers,
            load=options.load,
            rows=tuple(options.rows),
            soak=options.soak,
        )
    )


def _data_build(options: argparse.Namespace) -> int:
    from data.build import BuildJob, build
    from model.brands import Brands
    from model.normalise import named_brands

    if not (options.raw or options.corpora or options.labelled):
        raise FirstreplyError("data build needs something to build from: --raw DIR, --corpora DIR or --labelled FILE")
    brands = Brands.load(options.brands)
    return build(
        BuildJob(
            out=options.out,
            dev=options.dev,
            raw=options.raw,
            corpora=options.corpora,
            labelled=tuple(options.labelled),
            sources=tuple(options.source),
            unlabelled=options.unlabelled,
            named=(lambda text: named_brands(text, brands)) if options.other_targets else None,
            at_most=options.at_most,
            least_agreement=options.least_agreement,
            permissive=options.licence == "permissive",
            dev_fraction=options.dev_fraction,
            seed=options.seed,
            key=brands.key,
        )
    )


def _data_describe(options: argparse.Namespace) -> int:
    from data.describe import DescribeJob, describe

    return describe(DescribeJob(files=tuple(options.files), json=options.json))


def _data_suspects(options: argparse.Namespace) -> int:
    from data.suspects import SuspectsJob, suspects

    return suspects(SuspectsJob(predictions=options.file, out=options.out, show=options.show))


def _data_export_labels(options: argparse.Namespace) -> int:
    from data.labels import export_labels

    print(f"{export_labels(options.files, options.out):,} labels written to {options.out}")
    return 0


def _policy_check(options: argparse.Namespace) -> int:
    from model.policy_report import check_policy

    print(check_policy(options.file))
    return 0


def _policy_explain(options: argparse.Namespace) -> int:
    from data.schema import INTENTS
    from model.cascade import load_reader
    from model.policy import Policy
    from model.policy_report import explain_priority

    scorer = load_reader(options.bundle, brands=options.brands, cut=options.cut)
    policy = Policy.load(options.policy)
    mention = _mention(options)
    as_of = options.as_of or datetime.now(UTC)
    for brand in mention.brand or (None,):
        reading = scorer.read(mention.text, brand)
        probabilities = dict(zip(INTENTS, reading.probabilities, strict=True))
        labels = list(compress(INTENTS, reading.asserts(options.cut)))
        print(explain_priority(policy, mention, reading.brand_key, probabilities, labels, as_of))
    return 0


def _race(options: argparse.Namespace) -> int:
    from eval.race import RaceJob, run_race

    return run_race(
        RaceJob(
            data=options.data,
            bundle=options.bundle,
            policy=options.policy,
            brands=options.brands,
            stratum=options.stratum,
            days=options.days,
            per_day=options.per_day,
            seed=options.seed,
        )
    )


def _mention(options: argparse.Namespace) -> Mention:
    row = {name: getattr(options, name) for name in MENTION_FIELDS if name != "id"}
    try:
        return mention_from_row(row, "1")
    except MentionError as error:
        raise FirstreplyError(str(error)) from None


def parser() -> argparse.ArgumentParser:
    """What the command line takes; the reference is made of it."""
    parser = argparse.ArgumentParser(
        prog="firstreply", description="Which brand mention gets the first reply?", epilog=_EXIT_STATUS
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the program's version and exit")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = _command(commands, "serve", _serve, "answer POST /v1/score over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=_port, default=8080, help="port; 0 takes a free one (default %(default)s)")
    _reading_options(serve)
    _remember(serve)
    serve.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes that answer (default %(default)s)"
    )
    serve.add_argument(
        "--keys", type=Path, metavar="FILE", help="ask for one of these API keys (make them with firstreply keys new)"
    )
    serve.add_argument("--no-keys", action="store_true", help="let other machines call without a key")
    serve.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help="body_bytes, header_bytes, mentions, requests, tokens, connections, seconds, header_seconds or"
        " body_seconds, for each worker; may be given several times",
    )
    serve.add_argument("--bundles", type=Path, metavar="DIR", help="folder of bundles that an admin may put in place")
    serve.add_argument(
        "--shadow", type=Path, metavar="DIR", help="second bundle that reads a share of the requests too"
    )
    serve.add_argument(
        "--shadow-share", type=_share, default=0.05, metavar="P", help="that share (default %(default)s)"
    )
    serve.add_argument(
        "--close",
        action="append",
        default=[],
        choices=("metrics", "docs", "playground"),
        help="an address that there is not to be",
    )
    serve.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN", help="web origin whose pages may call (CORS)"
    )
    serve.add_argument("--traces", metavar="URL", help="OpenTelemetry collector, OTLP over HTTP (extra otel)")
    serve.add_argument("--access-log", action="store_true", help="log one line a request (never the posts)")
    serve.add_argument("--log", choices=("text", "json"), default="text", help="lines of the log (default %(default)s)")
    serve.add_argument(
        "--drain",
        type=_positive,
        default=2.0,
        metavar="SECONDS",
        help="when told to stop, go on taking connections for so long (default %(default)s)",
    )

    keys = _group(commands, "keys", "API keys of those who may call the endpoint")
    new = _command(keys, "new", _keys_new, "make a key, add its hash to a keys file, print it")
    new.add_argument("file", type=Path, metavar="FILE", help="keys file (TOML), made if it is not there")
    new.add_argument("name", metavar="NAME", help="of the caller")
    new.add_argument("--admin", action="store_true", help="may also reload bundles and policy")
    new.add_argument("--per-second", type=_positive, metavar="N", help="requests a second that it may send")
    new.add_argument("--at-once", type=_count, metavar="N", help="requests in flight that it may have")

    score = _command(commands, "score", _score, "score a file of mentions, or many files on many machines", "ray")
    score.set_defaults(parser=score)
    score.add_argument(
        "input",
        metavar="INPUT",
        help=".csv, .jsonl or .parquet; - is JSON lines on stdin; with --engine ray also a folder or a glob, here or at"
        " s3:// or gs://",
    )
    score.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        help="file, by extension, or - for stdout (default INPUT.scored.jsonl); with --engine ray a folder, of JSON"
        " lines if it ends in .jsonl, else of Parquet",
    )
    score.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this machine or a Ray cluster (default %(default)s)",
    )
    score.add_argument(
        "--address", metavar="HOST:PORT", help="Ray cluster (default: RAY_ADDRESS, else one begun on this machine)"
    )
    _reading_options(score)
    _as_of(score)
    _remember(score)
    score.add_argument("--explain", action="store_true", help="add the words that each label rests on (slower)")

    train = _command(commands, "train", _train, "fine-tune an encoder on labelled mentions into a bundle", "train")
    train.set_defaults(parser=train)
    train.add_argument("--train", type=Path, nargs="+", metavar="FILE", help="labelled mentions")
    train.add_argument("--dev", type=Path, metavar="FILE", help="the same, of other brands (default: set aside)")
    train.add_argument("--out", type=Path, metavar="BUNDLE", help="folder of the new bundle (or folds, or sweep)")
    train.add_argument(
        "--recipe",
        metavar="NAME",
        help="quick, default, best, fast, or a TOML file; list says what they are (and no more)",
    )
    train.add_argument("--base", metavar="MODEL", help="pre-trained encoder: hub id or folder")
    train.add_argument("--epochs", type=float, help="passes over the training mentions")
    train.add_argument("--seed", type=int, help="seed of everything random")
    train.add_argument("--brands", type=Path, metavar="FILE", help="brands file (default: the one that comes along)")
    train.add_argument(
        "--teacher",
        type=Path,
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="learn from these bundles' probabilities too, and from mentions without labels",
    )
    train.add_argument(
        "--exclude-source", action="append", default=[], metavar="NAME", help="leave out mentions of this source"
    )
    _licence(train)
    train.add_argument("--name", default="firstreply", help="name of the bundle (default %(default)s)")
    train.add_argument("--model-version", default="0.1.0", help="its version (default %(default)s)")
    train.add_argument("--keep-fp32", action="store_true", help="also write the float32 bundle, BUNDLE-fp32")
    train.add_argument(
        "--keep-encoder", action="store_true", help="also write the encoder, BUNDLE-encoder, as a --base to go on from"
    )
    train.add_argument(
        "--average-with",
        type=Path,
        nargs="+",
        default=[],
        metavar="ENCODER",
        help="average the weights with those of these kept encoders in the end",
    )
    train.add_argument(
        "--compare-with",
        type=Path,
        nargs="+",
        default=[],
        metavar="BUNDLE",
        help="state in the card what it reaches on dev too",
    )
    train.add_argument("--report-to", choices=_TRACKERS, help="log the loss and the dev figures to this tracker")
    instead = train.add_mutually_exclusive_group()
    instead.add_argument(
        "--cross-validate", type=_folds, metavar="K", help="measure K bundles on the brands that each never saw"
    )
    instead.add_argument("--sweep", type=_count, metavar="TRIALS", help="look for a better recipe; writes it as TOML")
    instead.add_argument(
        "--reproduce", type=Path, metavar="RUN_JSON", help="make the bundle of this BUNDLE-run.json again and compare"
    )
    train.add_argument("--group", choices=_GROUPS, help="what no fold divides (default brand_key)")
    train.add_argument("--out-of-fold", choices=("csv", "parquet"), help="format of its predictions (default csv)")

    calibrate = _command(
        commands, "calibrate", _calibrate, "fit a bundle's probabilities and cuts to your own mentions"
    )
    _bundle(calibrate)
    calibrate.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="FILE", help="labelled mentions, a few hundred"
    )
    calibrate.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the new bundle")

    cascade = _command(commands, "cascade", _cascade, "have a fast bundle leave what it is not sure of to a full one")
    cascade.add_argument("--fast", type=Path, required=True, metavar="DIR", help="bundle that reads every mention")
    cascade.add_argument("--full", type=Path, required=True, metavar="DIR", help="bundle that reads what is hard")
    cascade.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="labelled mentions that neither learnt from",
    )
    cascade.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder of the cascade")
    cascade.add_argument(
        "--loss", type=float, default=0.01, help="macro-F1 that may be lost against --full (default %(default)s)"
    )
    cascade.add_argument("--name", default="firstreply-cascade", help="name of the cascade (default %(default)s)")
    cascade.add_argument("--model-version", default="0.1.0", help="its version (default %(default)s)")

    evaluate = _command(commands, "evaluate", _evaluate, "measure a bundle on labelled mentions", "report")
    evaluate.epilog = f"{_EXIT_STATUS}, 4 done but a release should stop: worse, or measured on training mentions"
    _bundle(evaluate)
    evaluate.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="labelled mentions")
    evaluate.add_argument("--train", type=Path, nargs="+", default=[], metavar="FILE", help="fit baselines on these")
    evaluate.add_argument("--by", nargs="+", default=[], metavar="COLUMN", help="more columns to slice by")
    evaluate.add_argument("--out", type=Path, default=Path("report"), metavar="DIR", help="default %(default)s")
    _cut(evaluate)
    evaluate.add_argument("--brands", type=Path, metavar="FILE", help="brands file in place of the bundle's")
    evaluate.add_argument(
        "--compare", type=Path, metavar="BUNDLE", help="hold against this bundle; exit status 4 where it is worse"
    )
    evaluate.add_argument(
        "--held-out", type=Path, metavar="FILE", help="out-of-fold predictions of train --cross-validate, by brand"
    )
    evaluate.add_argument(
        "--seen", type=Path, metavar="FILE", help="the same with --group id, to show what brands cost"
    )
    evaluate.add_argument("--fidelity", type=Path, metavar="BUNDLE", help="compare with this float32 bundle instead")

    race = _command(commands, "race", _race, "what the order of answers is worth; the last line is JSON")
    race.add_argument("--data", type=Path, required=True, metavar="FILE", help="labelled mentions to draw days from")
    _bundle(race)
    race.add_argument("--policy", type=Path, metavar="FILE", help="policy file (default: the default policy)")
    race.add_argument("--brands", type=Path, metavar="FILE", help="brands file in place of the bundle's")
    race.add_argument("--stratum", metavar="NAME", help="only mentions of this stratum (default: natural, if there)")
    race.add_argument("--days", type=_count, default=100, help="simulated days (default %(default)s)")
    race.add_argument("--per-day", type=_count, default=500, help="mentions a day (default %(default)s)")
    race.add_argument("--seed", type=_seed, default=0, help="of the days drawn (default %(default)s)")

    bench = _command(commands, "bench", _bench, "measure speed side by side; the last line is JSON", "train")
    _bundle(bench)
    bench.add_argument("--data", type=Path, metavar="FILE", help="mentions (default: the sample, at real lengths)")
    bench.add_argument("--mentions", type=_count, default=10_000, help="mentions of the file (default %(default)s)")
    bench.add_argument("--turns", type=_count, default=3, help="turns of what is compared (default %(default)s)")
    bench.add_argument("--seconds", type=_positive, default=4.0, help="of each measure of a rate (default %(default)s)")
    bench.add_argument("--peers", type=Path, metavar="DIR", help="also optimum and infinity-emb, installed in DIR")
    bench.add_argument("--load", type=Path, metavar="SVG", help="also latency against offered load, drawn into a file")
    bench.add_argument("--rows", type=_count, nargs="+", default=[], metavar="N", help="also files of so many mentions")
    bench.add_argument("--soak", type=_positive, default=0.0, metavar="MINUTES", help="also memory under mixed load")
    bench.add_argument("--base", metavar="MODEL", help="encoder of the peers (default: the bundle's base model)")

    data = _group(commands, "data", "build, describe and export labelled mentions")
    build = _command(data, "build", _data_build, "corpora and our labels into one labelled file", "train")
    build.add_argument("--raw", type=Path, metavar="DIR", help="folder of corpora as published")
    build.add_argument("--corpora", type=Path, metavar="DIR", help="folder of normalised corpora")
    build.add_argument("--labelled", type=Path, nargs="+", default=[], metavar="FILE", help="labelled files to add")
    build.add_argument("--source", nargs="+", default=[], metavar="NAME", help="corpora to take (default: all)")
    _licence(build)
    build.add_argument("--unlabelled", action="store_true", help="also mentions without labels, for train --teacher")
    build.add_argument(
        "--other-targets", action="store_true", help="each mention once more for every other brand that it names"
    )
    build.add_argument(
        "--at-most", type=_count, metavar="N", help="mentions of a corpus that we did not label (default: all)"
    )
    build.add_argument(
        "--least-agreement",
        type=_share,
        metavar="KAPPA",
        help="leave out a corpus's labels of an intent that agree less with ours (Cohen's kappa; where one side never"
        " varies, less than 90%% alike); below 30 common mentions they are kept",
    )
    build.add_argument("--out", type=Path, required=True, metavar="FILE", help="training file to write")
    build.add_argument("--dev", type=Path, metavar="FILE", help="dev file to write; its brands stay out of the other")
    build.add_argument("--dev-fraction", type=_share, metavar="SHARE", help="split by brand (default: our dev labels)")
    build.add_argument("--seed", type=int, default=1, help="of the split (default %(default)s)")
    build.add_argument("--brands", type=Path, metavar="FILE", help="brands file (default: the one that comes along)")
    describe = _command(data, "describe", _data_describe, "what is in labelled files", "parquet")
    describe.add_argument("files", type=Path, nargs="+", metavar="FILE")
    describe.add_argument("--json", action="store_true", help="print JSON")
    doubted = _command(data, "suspects", _data_suspects, "likely label errors in out-of-fold predictions", "train")
    doubted.add_argument("file", type=Path, metavar="FILE", help="out-of-fold file of train --cross-validate")
    doubted.add_argument("--out", type=Path, metavar="FILE", help="write the mentions with suspect labels emptied")
    doubted.add_argument(
        "--show", type=_count, default=5, metavar="N", help="print the worst N of each intent (default 5)"
    )
    export = _command(data, "export-labels", _data_export_labels, "labels without the texts they are of", "parquet")
    export.add_argument("files", type=Path, nargs="+", metavar="FILE", help="labelled files named train.* and dev.*")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")

    policy = _group(commands, "policy", "check and explain priority policies")
    check = _command(policy, "check", _policy_check, "say what a policy does, or what is wrong with it")
    check.add_argument("file", type=Path, nargs="?", metavar="FILE", help="policy file (default: the default policy)")
    explain = _command(policy, "explain", _policy_explain, "show how one mention's priority comes about")
    explain.add_argument("text", metavar="TEXT", help="the post")
    for name, what in (
        ("brand", "target brand, several joined by |"),
        ("channel", "where it was posted"),
        ("created-at", "ISO 8601 time of the post"),
        ("followers", "of the author"),
        ("lifetime-value", "of the customer"),
        ("purchases", "of the customer"),
        ("satisfaction", "0 to 1"),
    ):
        explain.add_argument(f"--{name}", help=what)
    _reading_options(explain)
    _as_of(explain)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked: that costs what a start does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print("firstreply", version("firstreply"))
        parser.exit()


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _command(
    commands: Commands, name: str, run: Handler, what: str, extra: str | None = None
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=what, description=what[:1].upper() + what[1:] + ".", epilog=_EXIT_STATUS)
    parser.set_defaults(run=run, extra=extra)
    return parser


def _group(commands: Commands, name: str, what: str) -> Commands:
    group = commands.add_parser(name, help=what, description=what[:1].upper() + what[1:] + ".")
    return group.add_subparsers(title="commands", required=True, metavar="COMMAND")


def _bundle(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--bundle", type=Path, default=DEFAULT_BUNDLE, metavar="DIR", help="default: the full one that comes along"
    )
    which.add_argument(
        "--tier",
        dest="bundle",
        type=_tier,
        default=DEFAULT_BUNDLE,
        metavar="|".join(TIER_BUNDLES),
        help="another one that comes along: fast, or what it leaves open to full (cascade)",
    )


def _remember(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--remember",
        type=_number,
        default=20_000,
        metavar="N",
        help="keep what was read in the last N mentions, for repeats (default %(default)s; 0: none)",
    )


def _licence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--licence",
        choices=("any", "permissive"),
        default="any",
        help="permissive leaves out corpora whose licence does not clearly allow commercial use (default any)",
    )


def _cut(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cut", choices=CUTS, default="balanced", help="thresholds for labels (default %(default)s)")


def _reading_options(parser: argparse.ArgumentParser) -> None:
    _bundle(parser)
    parser.add_argument("--brands", type=Path, metavar="FILE", help="brands file in place of the bundle's")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="policy file (default: the default policy)")
    _cut(parser)


def _as_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as-of", type=_time, metavar="TIME", help="ISO 8601 time at which waiting ends (default: now)"
    )


def _time(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not an ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _tier(value: str) -> Path:
    if value not in TIER_BUNDLES:
        raise argparse.ArgumentTypeError(f"{value!r} is none of {', '.join(TIER_BUNDLES)}")
    return TIER_BUNDLES[value]


def _whole(what: str, least: int, most: float = math.inf) -> Callable[[str], int]:
    """What reads an option that is a whole number in a range, ends included."""

    def read(value: str) -> int:
        if not value.isdecimal() or not least <= int(value) <= most:
            raise argparse.ArgumentTypeError(f"{value!r} is not {what}")
        return int(value)

    return read


def _above_0(what: str, below: float) -> Callable[[str], float]:
    """What reads an option that is a number between 0 and another, both excluded."""

    def read(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < below:
            raise argparse.ArgumentTypeError(f"{value!r} is not {what}")
        return number

    return read


_number = _whole("a number, 0 or more", 0)
_seed = _whole("a seed (a whole number from 0)", 0)
_count = _whole("a whole number of at least 1", 1)
_folds = _whole("a number of folds (2 or more)", 2)
_port = _whole("a port (0 to 65535)", 0, 65_535)
_share = _above_0("a share between 0 and 1", 1)
_positive = _above_0("a number above 0", math.inf)


if __name__ == "__main__":
    sys.exit(main())
