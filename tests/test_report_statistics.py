"""The figures of a leaderboard against plain loops and textbook formulas."""

import math
import random
import statistics

import numpy as np
import pytest
from frames import frame, several
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.identity import derive_seed
from benchmark.report.boards import boards
from benchmark.report.bootstrap import RESAMPLES, Sample, intervals
from benchmark.report.leaderboard import leaderboard

RATE = st.floats(0, 1)
TRIAL = st.fixed_dictionaries(
    {
        "variant_id": st.sampled_from("ab"),
        "group": st.sampled_from("gh"),
        "status": st.sampled_from(["done", "done", "failed"]),
        "asr_before": st.sampled_from([0.5, 0.9, 0.99]),
        "asr_after": RATE | st.just(math.nan),
        "trigger": st.sampled_from("xyzw"),
        "seconds": st.floats(0, 1e4),
    }
)


@settings(max_examples=150, deadline=None)
@given(trials=st.lists(TRIAL, min_size=1, max_size=30))
def test_every_figure_is_what_a_plain_loop_finds(trials):
    rows = {(row.group, row.variant_id): row for row in leaderboard(frame(*trials))}
    assert set(rows) == {(t["group"], t["variant_id"]) for t in trials}
    for (group, variant), row in rows.items():
        mine = [t for t in trials if (t["group"], t["variant_id"]) == (group, variant)]
        done = [t for t in mine if t["status"] == "done"]
        took = [t for t in done if t["asr_before"] >= 0.9]
        asrs = [t["asr_after"] for t in took if not math.isnan(t["asr_after"])]
        assert (row.trials, row.averaged) == (len(mine), len(took))
        assert row.failed == len(mine) - len(done)
        assert len(row.attack_failed) == len(done) - len(took)
        assert row.seconds_mean == (pytest.approx(_mean([t["seconds"] for t in took])))
        assert row.asr_after_mean == pytest.approx(_mean(asrs))
        of_triggers = {
            name: _mean(
                [t["asr_after"] for t in took if t["trigger"] == name and t["asr_after"] >= 0]
            )
            for name in "xyzw"
        }
        worst = max((mean for mean in of_triggers.values() if mean is not None), default=None)
        assert row.asr_after_worst == (None if worst is None else pytest.approx(worst))
        assert row.asr_after_over_10 == pytest.approx(_mean([asr > 0.1 for asr in asrs]))
        assert row.asr_after_std == (
            pytest.approx(statistics.stdev(asrs), abs=1e-12) if len(asrs) > 1 else None
        )
        if worst is not None:  # of several as bad as each other, any
            assert of_triggers[row.asr_after_worst_trigger] == pytest.approx(worst)
        if len(asrs) < 3:
            assert row.asr_after_ci_low is row.asr_after_ci_high is None


def _mean(values):
    return statistics.fmean(values) if values else None


def sample(sums, counts=None, attacks=None, seeds=None) -> Sample:
    """One seed and an attack a model, unless said otherwise."""
    number = len(sums)
    return Sample(
        np.array(sums, dtype=float),
        np.ones(number) if counts is None else np.array(counts, dtype=float),
        np.arange(number) if attacks is None else np.array(attacks),
        np.zeros(number, dtype=np.int64) if seeds is None else np.array(seeds),
    )


def draws_of(axis: str, number: int) -> list[list[int]]:
    draw = np.random.default_rng(derive_seed(axis, number))
    return draw.integers(0, number, (RESAMPLES, number)).tolist()


def test_of_one_seed_the_interval_is_the_percentile_bootstrap_over_attacks():
    sums, counts = [0.1, 0.9, 0.3, 0.2], [1.0, 2.0, 1.0, 3.0]
    means = [
        sum(sums[at] for at in drawn) / sum(counts[at] for at in drawn)
        for drawn in draws_of("bootstrap", 4)
    ]
    expected = pytest.approx(np.quantile(means, (0.025, 0.975)))
    assert intervals([sample(sums, counts)]) == [expected]


def test_attacks_and_seeds_are_drawn_apart_from_each_other():
    """One resample at a time: every drawn attack on every drawn seed, as often as both came."""
    grid = {(7, 2): 0.1, (7, 5): 0.3, (4, 5): 0.9, (9, 2): 0.0, (9, 5): 0.5, (3, 2): 0.2}
    attacks, seeds = [7, 4, 9, 3], [2, 5]  # in the order in which the models have them
    means = []
    for drawn, of_seeds in zip(
        draws_of("bootstrap", 4), draws_of("bootstrap seeds", 2), strict=True
    ):
        pairs = [(attacks[a], seeds[s]) for a in drawn for s in of_seeds]
        values = [grid[pair] for pair in pairs if pair in grid]
        means += [sum(values) / len(values)] if values else []  # attack 4 alone, seed 2 alone
    assert RESAMPLES / 2 < len(means) < RESAMPLES
    models = sorted(grid, key=lambda pair: (attacks.index(pair[0]), pair[1]))
    row = sample([grid[pair] for pair in models], None, *zip(*models, strict=True))
    assert intervals([row]) == [pytest.approx(np.quantile(means, (0.025, 0.975)))]


def test_three_seeds_of_an_attack_are_not_three_attacks():
    """Where seeds agree and attacks do not, more seeds tell no more of other attacks."""
    asrs = [0.0, 0.1, 0.2, 0.4, 0.8]
    thrice = [
        trial | {"victim": f"{seed}{trial['trigger']}"}
        for seed in range(3)
        for trial in several("mesa", asrs, seed=seed)
    ]
    (once,) = leaderboard(frame(*several("mesa", asrs)))
    (row,) = leaderboard(frame(*thrice))
    assert row.models == 15
    assert row.asr_after_ci_low == pytest.approx(once.asr_after_ci_low)
    assert row.asr_after_ci_high == pytest.approx(once.asr_after_ci_high)


def test_seeds_of_one_attack_have_an_interval_of_their_own():
    asrs = [0.1, 0.2, 0.6]
    trials = [
        trial | {"trigger": "0", "victim": f"v{n}", "seed": n}
        for n, trial in enumerate(several("mesa", asrs))
    ]
    (row,) = leaderboard(frame(*trials))
    means = [sum(asrs[at] for at in drawn) / 3 for drawn in draws_of("bootstrap seeds", 3)]
    assert (row.asr_after_ci_low, row.asr_after_ci_high) == pytest.approx(
        tuple(np.quantile(means, (0.025, 0.975)))
    )
    (two,) = leaderboard(frame(*trials[:2], trials[0] | {"trigger": "1", "victim": "other"}))
    assert (two.models, two.asr_after_ci_low) == (3, None)  # two attacks, two seeds


def test_the_interval_agrees_with_theory_for_many_victims():
    values = np.random.default_rng(0).normal(0.3, 0.1, 400)
    ((low, high),) = intervals([sample(values)])
    half = 1.96 * values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - half, abs=half / 10)
    assert high == pytest.approx(values.mean() + half, abs=half / 10)


def test_ten_trials_on_one_victim_say_no_more_than_one():
    """Copies of each victim's trial narrow an interval that takes them for independent."""
    once = several("mesa", [0.0, 0.1, 0.2, 0.4, 0.8])
    (row,) = leaderboard(frame(*once))
    (tenfold,) = leaderboard(frame(*(once * 10)))
    assert tenfold.asr_after_ci_low == pytest.approx(row.asr_after_ci_low)
    assert tenfold.asr_after_ci_high == pytest.approx(row.asr_after_ci_high)
    (alone,) = leaderboard(frame(*several("mesa", [0.1, 0.2, 0.3], victim="the same")))
    assert alone.asr_after_ci_low is None


def test_victims_of_the_same_weights_are_one_model():
    """Else an interval is drawn over copies of one model that somebody brought."""
    twice = [
        trial | {"victim": f"{seed}{trial['trigger']}", "weights": f"w{trial['trigger']}"}
        for seed in range(2)
        for trial in several("mesa", [0.1, 0.2, 0.4, 0.8], seed=seed)
    ]
    (once,) = leaderboard(frame(*twice[:4]))
    (row,) = leaderboard(frame(*twice))
    assert (row.averaged, row.models, once.models) == (8, 4, 4)
    assert (row.asr_after_ci_low, row.asr_after_ci_high) == pytest.approx(
        (once.asr_after_ci_low, once.asr_after_ci_high)
    )
    (one,) = leaderboard(frame(*(trial | {"weights": "same"} for trial in twice)))
    assert (one.models, one.asr_after_ci_low) == (1, None)


def test_a_clean_model_counts_once_whatever_is_stamped_on_it():
    stamped = [
        trial | {"victim": f"{seed}-{trial['trigger']}", "false_alarm": float(seed == 2)}
        for seed in range(3)
        for trial in several("mesa", [0.1, 0.2, 0.3, 0.4], seed=seed, min_asr=math.nan)
    ]
    # A failed trial on the one model with an alarm makes the alarm no rarer.
    stamped[-1]["status"] = "failed"
    (row,) = leaderboard(frame(*stamped))
    assert (row.averaged, row.models, row.backdoored) == (11, 3, False)
    assert row.false_alarm_mean == pytest.approx(1 / 3)
    assert "mesa in 33.3 % of 3 models" in " ".join(boards([row])[0].notes)
    (two,) = leaderboard(frame(*stamped[:8]))
    assert (two.models, two.asr_after_ci_low) == (2, None)


def test_stamps_on_clean_models_are_no_attacks():
    """Whichever stamp was tried on which, the interval is that over the base models."""
    asrs = [0.1, 0.2, 0.6]
    one, several_stamps = (
        [
            trial | {"victim": f"v{n}", "seed": n, "trigger": trigger}
            for n, (trial, trigger) in enumerate(zip(made, triggers, strict=True))
        ]
        for made in [several("mesa", asrs, min_asr=math.nan)]
        for triggers in ("000", "012")
    )
    (expected,), (row,) = leaderboard(frame(*one)), leaderboard(frame(*several_stamps))
    assert row.asr_after_ci_low is not None
    assert row.asr_after_ci_low == expected.asr_after_ci_low
    assert row.asr_after_ci_high == expected.asr_after_ci_high


def test_a_row_depends_on_its_own_trials_alone():
    rng = random.Random(0)
    mine = several("mesa", [rng.random() for _ in range(9)])
    others = [
        several(f"d{n}", [rng.random() for _ in range(n)], role="control") for n in (1, 9, 30)
    ]
    (alone,) = leaderboard(frame(*mine))
    mixed = [*mine, *(t for other in others for t in other)]
    rng.shuffle(mixed)
    (among,) = (row for row in leaderboard(frame(*mixed)) if row.defense == "mesa")
    for name in ("mean", "std", "ci_low", "ci_high", "worst"):
        expected = getattr(alone, f"asr_after_{name}")
        assert getattr(among, f"asr_after_{name}") == pytest.approx(expected, abs=1e-15)


def test_blocks_of_resamples_are_as_good_as_all_at_once(monkeypatch):
    values = np.random.default_rng(0).random(50)
    (whole,) = intervals([sample(values)])
    monkeypatch.setattr("benchmark.report.bootstrap._BLOCK", 50 * 7)
    assert intervals([sample(values)]) == [pytest.approx(whole)]


def test_ranks_are_for_those_who_compete():
    rows = leaderboard(
        frame(
            *several("oracle", [0.01] * 3, role="oracle"),
            *several("tied_but_less_accurate", [0.1] * 3, clean_accuracy_after=0.8),
            *several("tied", [0.1] * 3, clean_accuracy_after=0.9),
            *several("best", [0.05] * 3),
            *several("failed", [0.0] * 3, status="failed"),
            *several("fine_tuning", [0.0] * 3, role="control"),
            *several("none", [0.99] * 3, role="floor"),
        )
    )
    assert [(row.defense, row.rank, row.ranked) for row in rows] == [
        ("none", None, False),
        ("fine_tuning", None, False),
        ("best", 1, True),
        ("tied", 2, True),
        ("tied_but_less_accurate", 3, True),
        ("failed", None, True),
        ("oracle", None, False),
    ]


def test_groups_are_ranked_apart():
    trials = [*several("a", [0.5]), *several("b", [0.1], group="h", attack="rgb3x3")]
    assert [(row.defense, row.rank) for row in leaderboard(frame(*trials))] == [("a", 1), ("b", 1)]


def test_fewer_trials_than_the_rivals_is_marked_and_earns_no_rank():
    """Who fails on the victims of which it is not sure must not be first for it."""
    trials = [*several("a", [0.1] * 4), *several("b", [0.0] * 3), *several("c", [0.2] * 4)]
    oracle = several("oracle", [0.0] * 5, role="oracle")
    failed = several("b", [0.2] * 4, status="failed")[3]
    rows = leaderboard(frame(*trials, failed, *oracle))
    assert [(row.defense, row.incomplete, row.rank) for row in rows] == [
        ("b", True, None),
        # Fewer than the oracle's, but as many as any rival has.
        ("a", True, 1),
        ("c", True, 2),
        ("oracle", False, None),
    ]


def test_whoever_gives_up_classifying_is_marked():
    trials = [
        *several("constant", [0.0] * 3, clean_accuracy_after=0.1),
        *several("sound", [0.01] * 3, clean_accuracy_after=0.85),
    ]
    (board,) = boards(leaderboard(frame(*trials)))
    assert [(row.defense, row.accuracy_lost) for row in board.rows] == [
        ("constant", True),
        ("sound", False),
    ]
    assert any(note.startswith("accuracy lost: more than 10 points") for note in board.notes)


@pytest.mark.parametrize(
    ("asrs", "marked"),
    [([0.01, 0.02, 0.03], True), ([0.01, 0.02, 0.09], False), ([0.01, 0.02], False)],
)
def test_whoever_beats_the_oracle_by_more_than_the_interval_is_marked(asrs, marked):
    trials = [*several("good", asrs), *several("oracle", [0.05] * 3, role="oracle")]
    rows = {row.defense: row for row in leaderboard(frame(*trials))}
    assert rows["good"].look is marked
    assert not rows["oracle"].look


def test_an_oracle_that_lacks_trials_is_no_ceiling():
    good = several("good", [0.03] * 4)
    part = several("part", [0.01] * 3, role="oracle")
    assert not any(row.look for row in leaderboard(frame(*good, *part)))
    whole = several("whole", [0.05] * 4, role="oracle")
    rows = {row.defense: row for row in leaderboard(frame(*good, *part, *whole))}
    assert rows["good"].look
    low = several("part", [0.05] * 3, role="oracle")
    assert not any(row.look for row in leaderboard(frame(*good, *low)))


def test_a_trial_of_several_models_counts_once_and_shows_their_spread():
    fields = {"repeats": 10, "asr_after_std": 0.1, "asr_after_max": 0.6}
    trials = several("pixel", [0.2, 0.4], **fields)
    trials[1]["asr_after_std"], trials[1]["asr_after_max"] = 0.3, 0.9
    (row,) = leaderboard(frame(*trials))
    assert row.asr_after_mean == pytest.approx(0.3)
    assert (row.asr_after_worst, row.asr_after_models_worst) == (0.4, 0.9)
    assert row.asr_after_models_std == pytest.approx(0.2)
    assert row.trials == 2


def test_no_trials_give_no_rows():
    assert leaderboard(frame(*several("a", [0.1]))[:0]) == []


def test_the_worst_trigger_is_the_worst_over_its_seeds():
    unlucky = [
        {"trigger": trigger, "seed": seed, "victim": f"{trigger}{seed}", "asr_after": asr}
        for trigger, asrs in (("lucky once", (0.4, 0.0, 0.0)), ("hard", (0.3, 0.3, 0.3)))
        for seed, asr in enumerate(asrs)
    ]
    (row,) = leaderboard(frame(*unlucky))
    assert (row.asr_after_worst, row.asr_after_worst_trigger) == (pytest.approx(0.3), "hard")


def test_equal_means_are_ranked_by_clean_accuracy_whatever_the_order_of_their_trials():
    rng = random.Random(39)
    asrs = [rng.randrange(0, 60) / 568 for _ in range(8)]
    a = several("a", asrs, clean_accuracy_after=0.95)
    for number in range(50):
        # The same values on the same victims, then on others: sums are rounded otherwise.
        b = several("b", rng.sample(asrs, 8) if number % 2 else asrs, clean_accuracy_after=0.90)
        rng.shuffle(b)
        ranks = [(row.defense, row.rank) for row in leaderboard(frame(*a, *b))]
        assert ranks == [("a", 1), ("b", 2)]


def test_versions_of_equal_means_have_an_order_of_their_own():
    made = [several("a", [0.1, 0.2], version=v, variant_id=v) for v in ("2", "1")]
    for trials in (made, made[::-1]):
        rows = leaderboard(frame(*trials[0], *trials[1]))
        assert [row.version for row in rows] == ["1", "2"]


def test_the_worst_model_may_be_the_only_one_of_its_trial():
    trials = several("px", [0.9, 0.1, 0.2])
    for trial, largest in zip(trials[1:], (0.15, 0.25), strict=True):
        trial |= {"repeats": 3, "asr_after_std": 0.05, "asr_after_max": largest}
    (row,) = leaderboard(frame(*trials))
    assert row.asr_after_models_worst == 0.9


@pytest.mark.parametrize(("count", "narrow"), [(5, True), (6, False)])
def test_an_interval_on_few_attacks_is_said_to_be_narrow(count, narrow):
    (board,) = boards(leaderboard(frame(*several("a", [n / 100 for n in range(count)]))))
    assert board.rows[0].units == count
    assert ("too narrow where these are under 6" in board.notes[-1]) == narrow


def test_the_notes_tell_victims_and_rows_of_one_name_apart():
    grid = [
        {"seed": seed, "target": target, "victim": f"{seed}{target}", "asr_before": before}
        for seed, target, before in ((0, 1, 0.99), (1, 1, 0.62), (2, 1, 0.99), (0, 5, 0.7))
    ]
    named = [
        {"variant": variant, "variant_id": variant, "detection": 1.0, **trial}
        for variant in ("epochs=1", "epochs=2")
        for trial in grid
    ]
    (board,) = boards(leaderboard(frame(*named)))
    told = "\n".join(board.notes)
    assert "0 (target 1, seed 1) at 62.0 %, 0 (target 5, seed 0) at 70.0 %" in told
    assert "mesa 1 epochs=1 in 100.0 % of 2 trials, mesa 1 epochs=2 in" in told
    # One trigger and three seeds are three victims, here four.
    assert board.over == "trigger 0, seeds 0 to 2, 4 victims"
