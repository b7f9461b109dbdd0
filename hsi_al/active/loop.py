"""The active learning loop (Fig. 1 of the paper): fit, predict once, record, query, label, commit."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hsi_al import interrupts
from hsi_al.accuracy import confusion_matrix
from hsi_al.acquisition.base import Acquisition, Scores
from hsi_al.active.asking import Asker
from hsi_al.active.curve import RoundRecord
from hsi_al.active.observers.base import Observer
from hsi_al.active.querying import chosen, kept_of
from hsi_al.active.records import Records
from hsi_al.active.stopping import Stopping, agreement_of
from hsi_al.garbage import garbage
from hsi_al.methods.base import Learner, in_parts, require_sound
from hsi_al.outputs import Outputs
from hsi_al.pool.label_pool import LabelPool
from hsi_al.pool.oracles import Oracle
from hsi_al.pool.splits import Split
from hsi_al.randomness import generator
from hsi_al.training.ranks import ALONE, Ranks

Ids = NDArray[np.int64]


@contextmanager
def timed(seconds: defaultdict[str, float], phase: str) -> Iterator[None]:
    """Add the wall time of the context to `seconds[phase]`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] += time.perf_counter() - start


@dataclass
class ActiveLearningLoop:
    """The loop over rounds; it depends on no particular dataset, network or acquisition function.

    Attributes:
        split: Candidates and test pixels.
        truth: Class indices of `split.scored_ids`, for evaluation only.
        n_classes: Number of classes.
        width: Columns of the scene.
        pool: Labelled and unlabelled candidates, with the round of each label; holds the initial labels at the start.
        learner: Fits and predicts.
        acquisition: Selects the queries.
        oracle: Gives the labels of queried pixels.
        records: Where rounds are committed.
        rounds: Number of query rounds; one more training follows the last query.
        query_size: Pixels per query.
        seed: Root seed.
        observers: Called after every committed round.
        stopping: Rules that end a run before its last round.
        stopped: The reason, once a rule has ended the run; else None.
        predicted_class: Predicted class indices of `split.scored_ids` in the latest round; None before the first.
        seconds: Wall time so far by phase: acquisition, logging, I/O, and phases that the caller adds.
        ranks: The processes that run the loop together; the first one selects the queries and commits.
        asker: Learner whose outputs the acquisition function sees in place of those of `learner`, in one process.
    """

    split: Split
    truth: Ids
    n_classes: int
    width: int
    pool: LabelPool
    learner: Learner
    acquisition: Acquisition
    oracle: Oracle
    records: Records
    rounds: int
    query_size: int
    seed: int
    observers: Sequence[Observer] = ()
    stopping: Stopping = field(default_factory=Stopping)
    stopped: str | None = None
    predicted_class: Ids | None = None
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    ranks: Ranks = ALONE
    asker: Asker | None = None

    def run(self, first_round: int = 0) -> None:
        """Run the rounds from `first_round` on; a warm-started learner must hold the state of the previous round."""
        with garbage.leaving_out_the_old():
            self.play_rounds(first_round)

    def play_rounds(self, first_round: int) -> None:
        """Play, commit and report the rounds from `first_round` to the last one."""
        for round_ in range(first_round, self.rounds + 1):
            if self.advance(round_):
                break

    def advance(self, round_: int) -> bool:
        """Play, commit and report one round; return whether it is the last."""
        interrupts.check()
        record = self.play(round_)
        interrupts.check()
        last = round_ == self.rounds or self.stopped is not None
        with timed(self.seconds, "I/O"):
            self.commit(record, last)
        with timed(self.seconds, "logging"):
            for observer in self.observers:
                observer.on_round(record)
        garbage.collect()
        return last

    def play(self, round_: int) -> RoundRecord:
        """Play one round: fit, predict and evaluate, then, unless it is the last, query and label."""
        clock = time.perf_counter
        start, n_labelled = clock(), self.pool.n_labelled
        self.learner.fit(self.pool.labelled_ids, self.pool.labels, round_, generator(self.seed, "learner", round_))
        fitted = clock()
        outputs, scores = self.ask(self.learner, self.split.scored_ids, only_classes=self.asker is not None)
        predicted = clock()
        self.predicted_class = outputs.predicted_class
        confusion_all, confusion_heldout = self.evaluate(outputs)
        record = RoundRecord(
            round_,
            n_labelled,
            confusion_all,
            confusion_heldout,
            seconds_fit=fitted - start,
            seconds_predict=predicted - fitted,
            seconds_query=0.0,
            agreement=self.agreement(outputs),
        )
        if round_ < self.rounds:
            self.stopped = self.ranks.from_first(lambda: self.stopping.reason(self.rows_with(record)))
            if self.stopped is None:
                with timed(self.seconds, "acquisition"):
                    self.query(outputs, scores, round_) if self.asker is None else self.query_by(self.asker, round_)
        return replace(record, seconds_query=clock() - predicted)

    def query_after(self, round_: int) -> None:
        """Label the query of a round that is over and had none; the learner must hold the state of this round."""
        with timed(self.seconds, "acquisition"):
            if self.asker is not None:
                self.query_by(self.asker, round_)
            else:
                self.query(*self.ask(self.learner, self.split.scored_ids), round_)

    def rows_with(self, record: RoundRecord) -> list[dict[str, float]]:
        """Return the committed rows of curve.csv and that of a record not yet committed."""
        return [*self.records.rows, record.row(self.records.label_values)]

    def commit(self, record: RoundRecord, last: bool) -> None:
        """Commit the finished round in the first process."""
        self.ranks.from_first(lambda: self.records.commit(record, self.pool, self.learner, last))

    def ask(self, learner: Learner, pixel_ids: Ids, only_classes: bool = False) -> tuple[Outputs, Scores | None]:
        """Predict pixels in parts; keep only classes and scores if the acquisition ranks scores, or only classes."""
        kept, scored = [], []
        for outputs in in_parts(learner, pixel_ids):
            require_sound(outputs, self.n_classes, learner.describe())
            if only_classes:
                kept.append(Outputs(outputs.predicted_class))
                continue
            part, scores = kept_of(self.acquisition, outputs)
            kept.append(part)
            scored += [] if scores is None else [scores]
        return Outputs.joined(kept), np.concatenate(scored) if scored else None

    def evaluate(self, outputs: Outputs) -> tuple[Ids, Ids]:
        """Return the confusion matrices over all scored pixels and over the held-out pixels, (C, C) each."""
        heldout = np.searchsorted(self.split.scored_ids, self.split.heldout(self.pool.labelled_ids))
        predicted = outputs.predicted_class
        return (
            confusion_matrix(self.truth, predicted, self.n_classes),
            confusion_matrix(self.truth[heldout], predicted[heldout], self.n_classes),
        )

    def agreement(self, outputs: Outputs) -> float | None:
        """Return kappa with the previous round's predictions on the unlabelled pool; None if no stopping rule needs it.

        The predictions are kept in the records for the next round.
        """
        if self.stopping.agreement is None:
            return None
        before, unlabelled = self.records.predicted, ~self.pool.is_labelled
        now = outputs.predicted_class[np.searchsorted(self.split.scored_ids, self.pool.candidates)]
        self.records.predicted = now
        earlier = None if before is None else before[unlabelled]
        return agreement_of(earlier, now[unlabelled], self.n_classes)

    def query(self, outputs: Outputs, scores: Scores | None, round_: int) -> None:
        """Label a query by the learner's outputs for `split.scored_ids`."""
        places = np.searchsorted(self.split.scored_ids, self.pool.candidates)
        scores = None if scores is None else scores[places]
        self.label(outputs.at(places), scores, self.query_size, round_, generator(self.seed, "query", round_))

    def query_by(self, asker: Asker, round_: int) -> None:
        """Label a query by the asker's outputs, in steps before which it is fitted to all labels so far."""
        for step, size in enumerate(asker.sizes(self.query_size)):
            interrupts.check()
            number = round_ * asker.steps(self.query_size) + step
            # Round 0 for the learner: no step goes on from the state of another, which a killed run would lack.
            asker.learner.fit(self.pool.labelled_ids, self.pool.labels, 0, generator(self.seed, "asker", number))
            outputs, scores = self.ask(asker.learner, self.pool.candidates)
            self.label(outputs, scores, size, round_, generator(self.seed, "query", number))

    def label(self, outputs: Outputs, scores: Scores | None, n: int, round_: int, rng: np.random.Generator) -> None:
        """Select n unlabelled candidates and add them to the pool for the next round, with labels from the oracle.

        Args:
            outputs: Outputs for all candidates.
            scores: Scores of all candidates, or None.
            n: Number of pixels.
            round_: Present round.
            rng: Source of the selection's draws.
        """
        pool, new_ground = self.pool, self.split.new_ground
        # What may not be asked isn't shown.
        shown = None if new_ground is None else pool.is_labelled | np.isin(pool.candidates, new_ground)
        # Only one process selects: scores that differ in a last bit would give the processes different pools.
        pixel_ids = self.ranks.from_first(
            lambda: chosen(self.acquisition, pool.candidates, pool.label, shown, outputs, scores, self.width, n, rng)
        )
        self.pool.add(pixel_ids, self.oracle.label(pixel_ids), round_ + 1)
