"""A session in which an oracle answers in place of a person."""

from collections.abc import Callable

import numpy as np

from hsi_al.label.session import Session
from hsi_al.pool.oracles import Oracle


def simulate(
    session: Session,
    oracle: Oracle,
    values: "np.typing.NDArray[np.int64]",
    n_labels: int,
    after: Callable[[int], object] = lambda pixel: None,
) -> None:
    """Let an oracle answer what a session asks, and the model learn after every complete query.

    Args:
        session: The session, whose classes have the label values `values`.
        oracle: Gives class indices.
        values: Label value of every class index, (C,).
        n_labels: Labels at which the model learns for the last time.
        after: Called with every pixel after its answer.

    Raises:
        PoolError: The oracle doesn't know a pixel.
        HsiAlError: The learner fails.
    """
    while session.due:
        session.learn()
        if sum(session.answers.counts().values()) >= n_labels:
            break
        while session.open_pixels and (pixel := session.query) is not None:
            session.answer(pixel, int(values[oracle.label(np.array([pixel]))[0]]))
            after(pixel)
