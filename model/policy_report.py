"""A policy for people to read: what a policy file asks for, and how one mention came by its priority.

Leaves out every decision: the numbers are those of ``model.policy``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data.schema import INTENTS, Mention
from model.policy import DEFAULT_POLICY, Policy, Priority, route_facts
from model.policy_settings import LEVELS, PolicySettings, Route, Scale, duration_text

CLEAR = 0.9
"""The probability at which ``check_policy`` shows where each intent alone leads."""


def check_policy(path: Path | None) -> str:
    """What a policy file asks for, in lines for a person; None is the default policy.

    Raises:
        PolicyError: the file is not a valid policy; the message lists every problem.
    """
    policy = Policy.load(path)
    settings = policy.settings
    lines = [f"{path or DEFAULT_POLICY}: valid; policy {policy.name!r}, sha256 {policy.sha256[:12]}", "intents"]
    now = datetime.now(UTC)
    for intent, weight in zip(INTENTS, settings.weights, strict=True):
        alone = policy.prioritise(
            Mention(text="-"), None, {**dict.fromkeys(INTENTS, 0.0), intent: CLEAR}, [intent], now
        )
        outcome = f"alone at probability {CLEAR:g}: {alone.score:.1f}, {alone.level}, queue {alone.queue}"
        lines.append(f"  {intent:<17}{weight:>6g} x probability   {outcome}")
    lines.append("keyword rules" if settings.keywords else "no keyword rules")
    lines += [f"  {rule.name:<17}{rule.points:>6g} for any of: {', '.join(rule.words)}" for rule in settings.keywords]
    lines += ["author and time", *(f"  {line}" for line in _scale_lines(settings))]
    lines.append("levels, by the score before waiting points")
    for level, threshold, deadline in zip(LEVELS, settings.thresholds, settings.deadlines, strict=True):
        lines.append(f"  {level:<17}from {threshold:<5g} deadline {duration_text(deadline)}")
    lines.append("routes, the first that holds")
    for number, route in enumerate(settings.routes, start=1):
        lines.append(f"  {number}. {_conditions(route)} → {route.queue}")
    lines.append(f"  otherwise → {settings.default_queue}")
    return "\n".join(lines)


def explain_priority(
    policy: Policy,
    mention: Mention,
    brand_key: str | None,
    probabilities: Mapping[str, float],
    labels: Sequence[str],
    as_of: datetime,
) -> str:
    """How a mention came by its priority, in lines for a person; arguments and errors as ``Policy.prioritise``."""
    priority = policy.prioritise(mention, brand_key, probabilities, labels, as_of)
    case = _Case(policy, mention, probabilities, policy.keywords.found(mention.text), priority, as_of)
    total = round(sum(signal.points for signal in priority.signals), 1)
    waiting = sum(signal.points for signal in priority.signals if signal.name == "waiting")
    steps = ", ".join(f"{level} {bar:g}" for level, bar in zip(LEVELS, policy.settings.thresholds, strict=True))
    facts = route_facts(mention, brand_key, labels, priority.level, case.fired)
    lines = [
        f"mention {mention.id or '(no id)'}, brand {brand_key or '(none)'}, as of {_time(as_of)}",
        "signals",
        *(f"  {signal.name:<27}{signal.points:>7.1f}   {case.origin(signal.name)}" for signal in priority.signals),
        f"  {'sum':<27}{total:>7.1f}",
        f"score     {priority.score:.1f}{' (at most 100)' if total > priority.score else ''}",
        f"level     {priority.level}: {total - waiting:.1f} points before waiting (from: {steps})",
        f"deadline  {case.deadline()}",
        f"queue     {priority.queue}",
        *(f"  {line}" for line in _route_lines(policy.settings, facts)),
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Case:
    """One mention, what the policy read in it, and the priority that came of it."""

    policy: Policy
    mention: Mention
    probabilities: Mapping[str, float]
    fired: Mapping[str, Sequence[str]]
    priority: Priority
    as_of: datetime

    def origin(self, signal: str) -> str:
        """What a signal's points come from."""
        settings, author = self.policy.settings, self.mention.author
        kind, _, name = signal.partition(":")
        if kind == "intent":
            weight = settings.weights[INTENTS.index(name)]
            return f"weight {weight:g} x probability {self.probabilities[name]:.4g}"
        if kind == "keyword":
            return "the text has " + ", ".join(f'"{word}"' for word in self.fired[name])
        if kind == "reach":
            return f"{author.followers:,.0f} followers ({_up_to(settings.reach)}, on a log scale)"
        if kind == "customer_value":
            worth = f"lifetime value {author.lifetime_value or 0:,.10g} ({_up_to(settings.lifetime_value)})"
            return f"{worth}, {author.purchases or 0:,.10g} purchases ({_up_to(settings.purchases)})"
        if kind == "low_satisfaction":
            scale = settings.low_satisfaction
            return f"satisfaction {author.satisfaction:g} is below {scale.full_at:g} ({scale.points:g} points at 0)"
        waited = timedelta(seconds=round((self.as_of - self._start()).total_seconds()))
        return f"waited {waited} of {self._limit()} ({settings.waiting_points:g} points at the deadline)"

    def deadline(self) -> str:
        """How ``respond_by`` was worked out."""
        if self.priority.respond_by is None:
            return f"none: level {self.priority.level} has no deadline"
        given = "as-of" if self.mention.created_at is None else "created_at"
        late = "; overdue" if self.as_of > self.priority.respond_by else ""
        limit = f"{duration_text(self._limit())} ({self.priority.level})"
        return f"{_time(self.priority.respond_by)} = {given} {_time(self._start())} + {limit}{late}"

    def _start(self) -> datetime:
        return self.mention.created_at or self.as_of

    def _limit(self) -> timedelta | None:
        return self.policy.settings.deadlines[LEVELS.index(self.priority.level)]


def _scale_lines(settings: PolicySettings) -> list[str]:
    below = settings.low_satisfaction
    return [
        f"reach             {_up_to(settings.reach)} followers, on a log scale",
        f"customer_value    {_up_to(settings.lifetime_value)} lifetime value, {_up_to(settings.purchases)} purchases",
        f"low_satisfaction  {below.points:g} points at satisfaction 0, falling to 0 at {below.full_at:g}",
        f"waiting           {settings.waiting_points:g} points at the deadline, growing from 0",
    ]


def _up_to(scale: Scale) -> str:
    return f"{scale.points:g} points at {scale.full_at:,.10g}"


def _conditions(route: Route) -> str:
    return " and ".join(f"{name} any of {', '.join(sorted(wanted))}" for name, wanted in route.conditions)


def _route_lines(settings: PolicySettings, facts: Mapping[str, set[str]]) -> Iterable[str]:
    for number, route in enumerate(settings.routes, start=1):
        unmet = route.unmet(facts)
        if unmet is None:
            yield f"route {number} → {route.queue}: taken, {_conditions(route)}"
            return
        wanted = dict(route.conditions)[unmet]
        has = ", ".join(sorted(facts[unmet])) or "none"
        yield f"route {number} → {route.queue}: not taken, wants {unmet} any of {', '.join(sorted(wanted))}; has {has}"
    yield f"no route taken: the default queue, {settings.default_queue}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
