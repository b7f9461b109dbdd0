"""Nearest regularised subspace (NRS): the residuals of a pixel's representation by each class, and the nearest class.

The labelled pixels of a class are the atoms of its dictionary.

Source: W. Li et al., "Nearest Regularized Subspace for Hyperspectral Classification", IEEE TGRS 2014. The bounds by
which `nearest` avoids solving a system for every pixel and class are not from this source: see `Subspace.bracket`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from hsi_al.methods.base import require_finite

Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]

STACK_BYTES = 2**22  # memory of the systems solved at once: staying in the cache is at least twice as fast
EQUAL = 1e-13  # relative to the squared lengths: a smaller squared distance is only rounding
WORST_CONDITION = 1e9  # bound of the condition number below which systems in band space are exact enough
AXES = 16  # leading principal axes of a class; the block of a system that belongs to them is solved directly
STEPS = (0, 3, 10)  # conjugate gradient steps of successive bounds, before the classes still open are solved exactly
ROUNDING = 1e-6  # relative to a residual: classes that differ by less are not told apart by bounds


def squared_distances(dictionary: Doubles, queries: Doubles) -> Doubles:
    """Return the squared distances ||y - x_i||^2, the diagonal of Gamma^2; equal but for rounding gives exactly 0.

    Args:
        dictionary: Atoms x_i, (n, bands).
        queries: Pixels y, (N, bands).

    Returns:
        (N, n).
    """
    return _squared_distances(dictionary, _squares(dictionary), queries)


def _squared_distances(dictionary: Doubles, lengths_n: Doubles, queries: Doubles) -> Doubles:
    """Return `squared_distances`, given the squared lengths of the atoms, (n,)."""
    lengths = _squares(queries)[:, None] + lengths_n
    distances = lengths - (2 * queries) @ dictionary.T
    return np.where(distances > EQUAL * lengths, distances, 0.0)


def coefficients(dictionary: Doubles, queries: Doubles, penalty: float) -> Doubles:
    """Return the weights alpha = argmin ||y - X alpha||^2 + lambda ||Gamma alpha||^2 = (X'X + lambda Gamma^2)^-1 X'y.

    If an atom equals the pixel, its weight is not penalised, and alpha selects this atom alone, which gives the minimum
    0. If rounding leaves a system without a Cholesky factor, least squares find the shortest alpha.

    Args:
        dictionary: Atoms, the columns of X, (n, bands).
        queries: Pixels y, (N, bands).
        penalty: lambda.

    Returns:
        (N, n).
    """
    n = len(dictionary)
    gram, products = dictionary @ dictionary.T, queries @ dictionary.T
    distances = squared_distances(dictionary, queries)
    equal = distances == 0
    found = np.zeros_like(distances)
    for rows in _stacks(np.flatnonzero(~equal.any(1)), n * n):
        systems = _empty(len(rows), n)
        systems[:] = gram
        _diagonal(systems)[:] += penalty * distances[rows]
        found[rows], failed = _cholesky_solve(systems, products[rows])
        if failed.any():
            rows = rows[failed]
            found[rows] = _least_squares(dictionary, queries[rows], np.sqrt(penalty * distances[rows]))
    rows, atoms = np.flatnonzero(equal.any(1)), equal.argmax(1)
    found[rows, atoms[rows]] = 1.0
    return found


def _least_squares(dictionary: Doubles, queries: Doubles, weights: Doubles) -> Doubles:
    """Solve for the weights without X'X: (X; sqrt(lambda) Gamma) alpha = (y; 0), by singular values."""
    found = np.empty_like(weights)
    for row, (query, gamma) in enumerate(zip(queries, weights, strict=True)):
        system = np.concatenate((dictionary.T, np.diag(gamma)))
        found[row] = np.linalg.lstsq(system, np.concatenate((query, np.zeros_like(gamma))), rcond=None)[0]
    return found


def residual_vectors(dictionary: Doubles, queries: Doubles, penalty: float) -> Doubles:
    """Return y - X alpha = (I + X Gamma^-2 X' / lambda)^-1 y (Woodbury): one equation per band, not per atom.

    Args:
        dictionary: Atoms, the columns of X, (n, bands).
        queries: Pixels y that equal no atom, (N, bands).
        penalty: lambda.

    Returns:
        (N, bands).
    """
    n, bands = dictionary.shape
    weights = 1 / (penalty * squared_distances(dictionary, queries))
    found = np.empty_like(queries)
    for rows in _stacks(np.arange(len(queries)), bands * (n + bands)):
        systems = _empty(len(rows), bands)
        np.matmul(weights[rows, None] * dictionary.T, dictionary, out=systems)
        _diagonal(systems)[:] += 1.0
        found[rows], failed = _cholesky_solve(systems, queries[rows])
        if failed.any():
            raise np.linalg.LinAlgError("A system in band space has no Cholesky factor.")
    return found


def residuals(dictionary: Doubles, queries: Doubles, penalty: float) -> Doubles:
    """Return the residuals r = ||y - X alpha|| for one class.

    Systems are solved in atom space or in band space: in the cheaper one, unless small distances make the latter
    ill-conditioned.

    Args:
        dictionary: Atoms of the class, (n, bands), float64.
        queries: Pixels, (N, bands), float64.
        penalty: lambda.

    Returns:
        (N,).
    """
    n, bands = dictionary.shape
    if 3 * bands**2 * n + bands**3 >= n**3:  # operations of both forms; those of a matrix product cost half as much
        return _lengths(queries - coefficients(dictionary, queries, penalty) @ dictionary)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        weighed = _squares(dictionary) / (penalty * squared_distances(dictionary, queries))
        in_bands = weighed.sum(1) < WORST_CONDITION  # the sum is infinite for a zero distance
    rest = queries[~in_bands]
    found = np.empty(len(queries))
    found[in_bands] = _lengths(residual_vectors(dictionary, queries[in_bands], penalty))
    found[~in_bands] = _lengths(rest - coefficients(dictionary, rest, penalty) @ dictionary)
    return found


class Subspace:
    """The dictionary of a class in the coordinates of its principal axes, prepared once for all pixels and penalties.

    Args:
        dictionary: Labelled pixels of the class, (n, bands), float64.
    """

    def __init__(self, dictionary: Doubles) -> None:
        self.dictionary = dictionary
        self.few = len(dictionary) <= 2 * AXES  # then exact solutions are cheaper than bounds
        if self.few:
            return
        self.axes = np.ascontiguousarray(np.linalg.eigh(dictionary.T @ dictionary).eigenvectors[:, ::-1])
        self.atoms = dictionary @ self.axes
        self.lengths = _squares(dictionary)
        self.head, self.tail = np.ascontiguousarray(self.atoms[:, :AXES]), np.ascontiguousarray(self.atoms[:, AXES:])
        self.pairs = np.tril_indices(self.head.shape[1])
        # Summed with weights 1 / (lambda Gamma^2), these give the leading block of X Gamma^-2 X' / lambda, and the rest
        # of its diagonal.
        self.products = np.ascontiguousarray((self.head[:, self.pairs[0]] * self.head[:, self.pairs[1]]).T)
        self.squares = np.square(self.tail)

    def bracket(self, queries: Doubles, penalty: float, steps: int) -> tuple[Doubles, Doubles]:
        """Return a lower and an upper bound of the residual ||y - X alpha|| of each pixel.

        The residual vector r solves M r = y with M = I + X Gamma^-2 X' / lambda. On the principal axes of the class,
        the leading block of M is factored, and the other coordinates x solve S x = b with the Schur complement S of
        that block, by conjugate gradients that are preconditioned by the diagonal. With the remainder b - S x, the
        error e of r has e' M e = (b - S x)' S^-1 (b - S x). Neither S nor M has an eigenvalue below 1, so
        ||e|| <= ||b - S x||.

        Args:
            queries: Pixels y, (N, bands), float64.
            penalty: lambda.
            steps: Number of conjugate gradient steps. Spectra are smooth, so that few axes describe a class and 0 steps
                may suffice.

        Returns:
            Lower and upper bounds, (N,) each: equal where the residual is known, 0 and infinity where the system is too
            ill-conditioned.
        """
        if self.few:
            found = residuals(self.dictionary, queries, penalty)
            return found, found
        rotated = queries @ self.axes
        squares = _squared_distances(self.atoms, self.lengths, rotated)
        equal = (squares == 0).any(1)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            weights = 1 / (penalty * squares)
            hard = weights @ self.lengths > WORST_CONDITION
        weights[hard | equal] = 0.0
        found, error = self._solved(rotated, weights, steps)
        error += ROUNDING * found
        lower, upper = found - error, found + error
        lower[hard | equal], upper[hard], upper[equal] = 0.0, np.inf, 0.0
        return lower, upper

    def _solved(self, rotated: Doubles, weights: Doubles, steps: int) -> tuple[Doubles, Doubles]:
        """Return the lengths of approximate residual vectors and upper bounds of their errors, (N,) each."""
        n_axes = self.head.shape[1]
        blocks = np.empty((n_axes, n_axes, len(rotated)))
        blocks[self.pairs] = self.products @ weights.T
        _diagonal(blocks.T)[:] += 1.0
        factors, diagonal = _factored(blocks), weights @ self.squares + 1

        def schur(tail: Doubles) -> tuple[Doubles, Doubles]:
            """Return S x, and the leading coordinates -A^-1 B x: A is the leading block of M, B the block beside it."""
            along = tail @ self.tail.T
            head = -_substituted(factors, (along * weights) @ self.head)
            along += head @ self.head.T
            along *= weights
            return tail + along @ self.tail, head

        first = _substituted(factors, rotated[:, :n_axes])
        right = rotated[:, n_axes:] - ((first @ self.head.T) * weights) @ self.tail
        tail = right / diagonal
        image, head = schur(tail)
        missing = right - image
        if steps:
            tail = _conjugate_gradients(lambda x: schur(x)[0], tail, missing, diagonal, steps)
            image, head = schur(tail)
            missing = right - image
        return np.sqrt(_squares(first + head) + _squares(tail)), _lengths(missing)


def _conjugate_gradients(
    multiply: Callable[[Doubles], Doubles], found: Doubles, missing: Doubles, diagonal: Doubles, steps: int
) -> Doubles:
    """Take some steps towards the solution of N systems S x = b at once, from x = `found` with b - S x = `missing`."""
    tiny = np.finfo(found.dtype).tiny  # avoids 0 / 0 in a system that is already solved
    scaled = missing / diagonal
    direction, square = scaled, _products(missing, scaled)[:, None]
    for _ in range(steps):
        image = multiply(direction)
        length = square / np.maximum(_products(direction, image)[:, None], tiny)
        found, missing = found + length * direction, missing - length * image
        scaled = missing / diagonal
        before, square = square, _products(missing, scaled)[:, None]
        direction = scaled + square / np.maximum(before, tiny) * direction
    return found


def nearest(classes: Sequence[Subspace], queries: Doubles, penalty: float) -> Ids:
    """Return the class of the smallest residual of each pixel, the first of equal ones.

    Bounds exclude classes; only those that remain open after `STEPS` are solved exactly, so that the answer is the same
    as by `residuals` for every class.

    Args:
        classes: Dictionaries of at least one class.
        queries: Pixels, (N, bands), float64.
        penalty: lambda.

    Returns:
        Positions in `classes`, (N,).

    Raises:
        LearnerError: A residual is NaN or infinite.
    """
    lower = np.zeros((len(queries), len(classes)))
    upper = np.full_like(lower, np.inf)
    for steps in (*STEPS, None):
        smallest = upper.min(1, keepdims=True)
        open_ = lower <= smallest
        open_ &= open_.sum(1, keepdims=True) > 1
        for index, subspace in enumerate(classes):
            rows = np.flatnonzero(open_[:, index])
            if not len(rows):
                continue
            if steps is None:
                lower[rows, index] = upper[rows, index] = residuals(subspace.dictionary, queries[rows], penalty)
            else:
                lower[rows, index], upper[rows, index] = subspace.bracket(queries[rows], penalty, steps)
    if len(classes) > 1:  # a single class is not compared with anything
        require_finite(upper.min(1), "The residuals of JCR")
    found: Ids = upper.argmin(1)
    return found


def _cholesky_solve(systems: Doubles, targets: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
    """Solve symmetric systems (N, n, n), which are overwritten, for targets (N, n).

    Returns:
        Solutions, (N, n), and whether a system has no Cholesky factor, (N,), in which case its solution has no meaning.
    """
    if systems.shape[1] <= AXES:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            factors = _factored(systems.T)
            return _substituted(factors, targets), np.isnan(factors[-1, -1])
    found, failed = np.empty_like(targets), np.zeros(len(targets), np.bool_)
    for row, (system, target) in enumerate(zip(systems, targets, strict=True)):
        _, found[row], failed[row] = lapack.dposv(system.T, target, overwrite_a=True)
    return found, failed


def _factored(systems: Doubles) -> Doubles:
    """Replace N small systems, (n, n, N), by their lower Cholesky factors, all at once: faster than one by one.

    If a system has no factor, at least the last number on the diagonal is NaN.
    """
    for j in range(len(systems)):
        systems[j:, j] -= np.einsum("ikn,kn->in", systems[j:, :j], systems[j, :j])
        systems[j:, j] /= np.sqrt(systems[j, j])
    return systems


def _substituted(factors: Doubles, targets: Doubles) -> Doubles:
    """Solve systems, given by their lower Cholesky factors (n, n, N), for targets (N, n); the result is (N, n)."""
    found = targets.T.copy()
    for j in range(len(found)):
        found[j] -= np.einsum("kn,kn->n", factors[j, :j], found[:j])
        found[j] /= factors[j, j]
    for j in reversed(range(len(found))):
        found[j] /= factors[j, j]
        found[:j] -= factors[j, :j] * found[j]
    return found.T


def _empty(n_systems: int, n: int) -> Doubles:
    """Allocate systems (N, n, n) in the layout that `_cholesky_solve` needs: N innermost for small systems."""
    return np.empty((n_systems, n, n), order="F" if n <= AXES else "C")


def _diagonal(systems: Doubles) -> Doubles:
    """Return a writable view of the diagonals of systems (N, n, n), (N, n)."""
    diagonal: Doubles = np.einsum("nii->ni", systems)
    return diagonal


def _products(left: Doubles, right: Doubles) -> Doubles:
    """Return the inner products row by row, (N,)."""
    products: Doubles = np.einsum("nb,nb->n", left, right)
    return products


def _squares(vectors: Doubles) -> Doubles:
    return _products(vectors, vectors)


def _lengths(vectors: Doubles) -> Doubles:
    return np.sqrt(_squares(vectors))


def _stacks(rows: Ids, values: int) -> Iterator[Ids]:
    """Split rows into stacks of at most `STACK_BYTES`, or single rows, where each row takes `values` float64 values."""
    size = max(1, STACK_BYTES // (8 * values))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
