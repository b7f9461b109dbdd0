"""Nearest regularised subspace (NRS): how well the labelled pixels of each class represent a pixel, and which do best.

Source: W. Li et al., "Nearest Regularized Subspace for Hyperspectral Classification", IEEE TGRS 2014. How the nearest
class is found without solving a system for every pixel and class is our own: see `Subspace.bracket`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

STACK_BYTES = 2**22  # of the systems solved at once: they stay in the cache, twice as fast or more
EQUAL = 1e-13  # of the squared lengths: below it a squared distance is nothing but rounding
WORST_CONDITION = 1e9  # up to which the form in band space is exact enough
AXES = 16  # leading principal axes of a class, whose block of a system is solved directly
STEPS = (0, 3, 10)  # of conjugate gradients before the exact solution, for the classes that are still open
ROUNDING = 1e-6  # of a residual: what is closer counts as open


def squared_distances(dictionary: Tensor, queries: Tensor) -> Tensor:
    """Gamma squared: ||y - x_i||^2, exactly 0 where the two are equal but for rounding.

    Args:
        dictionary: Atoms x_i, (n, bands).
        queries: Pixels y, (N, bands).

    Returns:
        (N, n).
    """
    return _squared_distances(dictionary, dictionary.square().sum(1), queries)


def _squared_distances(dictionary: Tensor, lengths_n: Tensor, queries: Tensor) -> Tensor:
    """The same, given the squared lengths of the atoms, (n,)."""
    lengths = queries.square().sum(1, keepdim=True) + lengths_n
    distances = lengths - 2 * queries @ dictionary.T
    return torch.where(distances > EQUAL * lengths, distances, 0.0)


def coefficients(dictionary: Tensor, queries: Tensor, penalty: float) -> Tensor:
    """Weights alpha = argmin ||y - X alpha||^2 + lambda ||Gamma alpha||^2 = (X'X + lambda Gamma^2)^-1 X'y (NRS).

    Where an atom equals the pixel its weight is free, and alpha is this atom alone: the minimum, 0. Where rounding
    leaves a system without a Cholesky factor, least squares find the shortest alpha.

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
    found = torch.zeros_like(distances)
    for rows in _stacks((~equal.any(1)).nonzero()[:, 0], n * n):
        systems = gram.expand(len(rows), n, n).clone()
        systems.diagonal(dim1=1, dim2=2).add_(penalty * distances[rows])
        factors, failed = torch.linalg.cholesky_ex(systems)
        found[rows] = torch.cholesky_solve(products[rows, :, None], factors)[..., 0]
        if failed.any():
            rows = rows[failed > 0]
            found[rows] = _least_squares(dictionary, queries[rows], (penalty * distances[rows]).sqrt())
    rows, atoms = equal.any(1).nonzero()[:, 0], equal.int().argmax(1)
    found[rows, atoms[rows]] = 1.0
    return found


def _least_squares(dictionary: Tensor, queries: Tensor, weights: Tensor) -> Tensor:
    """The same minimum without X'X: (X; sqrt(lambda) Gamma) alpha = (y; 0), by singular values."""
    above = dictionary.T.expand(len(queries), *dictionary.T.shape)
    systems = torch.cat((above, torch.diag_embed(weights)), dim=1)
    targets = torch.cat((queries, torch.zeros_like(weights)), dim=1)[..., None]
    solved: Tensor = torch.linalg.lstsq(systems, targets, driver="gelsd").solution
    return solved[..., 0]


def residual_vectors(dictionary: Tensor, queries: Tensor, penalty: float) -> Tensor:
    """Differences y - X alpha = (I + X Gamma^-2 X' / lambda)^-1 y (Woodbury): systems of bands, not atoms.

    Args:
        dictionary: Atoms, the columns of X, (n, bands).
        queries: Pixels y that equal no atom, (N, bands).
        penalty: lambda.

    Returns:
        (N, bands).
    """
    n, bands = dictionary.shape
    weights = 1 / (penalty * squared_distances(dictionary, queries))
    found = torch.empty_like(queries)
    for rows in _stacks(torch.arange(len(queries)), bands * (n + bands)):
        systems = (weights[rows, None] * dictionary.T) @ dictionary
        systems.diagonal(dim1=1, dim2=2).add_(1.0)
        found[rows] = torch.cholesky_solve(queries[rows, :, None], torch.linalg.cholesky(systems))[..., 0]
    return found


def residuals(dictionary: Tensor, queries: Tensor, penalty: float) -> Tensor:
    """Lengths r = ||y - X alpha|| for one class, by the cheaper of both forms where Gamma allows the choice.

    Args:
        dictionary: Atoms of the class, (n, bands), float64.
        queries: Pixels, (N, bands), float64.
        penalty: lambda.

    Returns:
        (N,).
    """
    n, bands = dictionary.shape
    if 3 * bands**2 * n + bands**3 >= n**3:  # additions and multiplications, a matrix product's half as dear
        return _lengths(queries - coefficients(dictionary, queries, penalty) @ dictionary)
    weighed = dictionary.square().sum(1) / (penalty * squared_distances(dictionary, queries))
    in_bands = weighed.sum(1) < WORST_CONDITION  # a zero distance makes it infinite
    rest = queries[~in_bands]
    found = queries.new_empty(len(queries))
    found[in_bands] = _lengths(residual_vectors(dictionary, queries[in_bands], penalty))
    found[~in_bands] = _lengths(rest - coefficients(dictionary, rest, penalty) @ dictionary)
    return found


class Subspace:
    """The dictionary of a class on its own principal axes, prepared once for all pixels and penalties.

    Args:
        dictionary: Labelled pixels of the class, (n, bands), float64.
    """

    def __init__(self, dictionary: Tensor) -> None:
        self.dictionary = dictionary
        self.few = len(dictionary) <= 2 * AXES  # exact systems are the cheaper ones then
        if self.few:
            return
        self.axes = torch.linalg.eigh(dictionary.T @ dictionary).eigenvectors.flip(1)
        self.atoms = dictionary @ self.axes
        self.lengths = dictionary.square().sum(1)
        self.head, self.tail = self.atoms[:, :AXES].contiguous(), self.atoms[:, AXES:].contiguous()
        self.pairs = torch.tril_indices(self.head.shape[1], self.head.shape[1])
        # Weighed by 1 / (lambda Gamma^2): the leading block of X Gamma^-2 X' / lambda, and the rest of its diagonal.
        self.products = torch.cat(
            (self.head[:, self.pairs[0]] * self.head[:, self.pairs[1]], self.tail.square()), dim=1
        )

    def bracket(self, queries: Tensor, penalty: float, steps: int) -> tuple[Tensor, Tensor]:
        """A lower and an upper bound of the residual ||y - X alpha|| of each pixel.

        The residual vector solves M r = y with M = I + X Gamma^-2 X' / lambda. On the principal axes of the class, the
        leading block of M is factored and the rest eliminated by conjugate gradients on its Schur complement S,
        preconditioned by the diagonal. With b - S x what is missing there, the error e has e' M e = (b - S x)' S^-1
        (b - S x), and neither S nor M has an eigenvalue below 1: ||e|| <= ||b - S x||.

        Args:
            queries: Pixels y, (N, bands), float64.
            penalty: lambda.
            steps: Of conjugate gradients. Spectra are smooth, so that few axes hold a class and none may do.

        Returns:
            (N,) each: equal where the residual is known, 0 and infinite where the system is too ill-conditioned.
        """
        if self.few:
            found = residuals(self.dictionary, queries, penalty)
            return found, found
        rotated = queries @ self.axes
        squares = _squared_distances(self.atoms, self.lengths, rotated)
        equal = (squares == 0).any(1)
        weights = (penalty * squares).reciprocal_()
        hard = weights @ self.lengths > WORST_CONDITION
        weights[hard | equal] = 0.0
        found, error = self._solved(rotated, weights, steps)
        error += ROUNDING * found
        lower, upper = found - error, found + error
        lower[hard | equal], upper[hard], upper[equal] = 0.0, torch.inf, 0.0
        return lower, upper

    def _solved(self, rotated: Tensor, weights: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Lengths of approximate residual vectors and bounds of their errors, (N,) each."""
        n_axes = self.head.shape[1]
        products = weights @ self.products
        blocks = rotated.new_zeros(len(rotated), n_axes, n_axes)
        blocks[:, self.pairs[0], self.pairs[1]] = products[:, : self.pairs.shape[1]]
        blocks.diagonal(dim1=1, dim2=2).add_(1.0)
        factors, diagonal = torch.linalg.cholesky_ex(blocks).L, products[:, self.pairs.shape[1] :] + 1

        def solve(right: Tensor) -> Tensor:
            return torch.cholesky_solve(right[..., None], factors)[..., 0]

        def schur(tail: Tensor) -> tuple[Tensor, Tensor]:
            """S x, and the leading coordinates that go with x when nothing is asked of them."""
            along = tail @ self.tail.T
            head = -solve((along * weights) @ self.head)
            along.addmm_(head, self.head.T).mul_(weights)
            return torch.addmm(tail, along, self.tail), head

        first = solve(rotated[:, :n_axes])
        right = torch.addmm(rotated[:, n_axes:], (first @ self.head.T).mul_(weights), self.tail, alpha=-1)
        tail = right / diagonal
        image, head = schur(tail)
        missing = right - image
        if steps:
            tail = _conjugate_gradients(lambda x: schur(x)[0], tail, missing, diagonal, steps)
            image, head = schur(tail)
            missing = right - image
        return torch.sqrt((first + head).square().sum(1) + tail.square().sum(1)), _lengths(missing)


def _conjugate_gradients(
    multiply: Callable[[Tensor], Tensor], found: Tensor, missing: Tensor, diagonal: Tensor, steps: int
) -> Tensor:
    """Some steps from `found`, which leaves `missing` = b - S x, towards the solution of N systems S x = b at once."""
    tiny = torch.finfo(found.dtype).tiny  # a system that is solved already stays where it is
    scaled = missing / diagonal
    direction, square = scaled, (missing * scaled).sum(1, keepdim=True)
    for _ in range(steps):
        image = multiply(direction)
        length = square / (direction * image).sum(1, keepdim=True).clamp_min(tiny)
        found, missing = found + length * direction, missing - length * image
        scaled = missing / diagonal
        before, square = square, (missing * scaled).sum(1, keepdim=True)
        direction = scaled + square / before.clamp_min(tiny) * direction
    return found


def nearest(classes: Sequence[Subspace], queries: Tensor, penalty: float) -> Tensor:
    """The class of the smallest residual, the first of equal ones.

    Bounds rule classes out; only those that remain open after `STEPS` are solved exactly, so that the answer is that of
    `residuals` for every class.

    Args:
        classes: At least one.
        queries: Pixels, (N, bands), float64.
        penalty: lambda.

    Returns:
        Positions in `classes`, (N,).
    """
    lower = queries.new_zeros(len(queries), len(classes))
    upper = torch.full_like(lower, torch.inf)
    for steps in (*STEPS, None):
        smallest = upper.min(1, keepdim=True).values
        open_ = lower <= smallest
        open_ &= open_.sum(1, keepdim=True) > 1
        for index, subspace in enumerate(classes):
            rows = open_[:, index].nonzero()[:, 0]
            if not len(rows):
                continue
            if steps is None:
                lower[rows, index] = upper[rows, index] = residuals(subspace.dictionary, queries[rows], penalty)
            else:
                lower[rows, index], upper[rows, index] = subspace.bracket(queries[rows], penalty, steps)
    return upper.argmin(1)


def _lengths(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1).sqrt()


def _stacks(rows: Tensor, values: int) -> tuple[Tensor, ...]:
    """Rows in stacks of `STACK_BYTES`, each row of so many float64 values."""
    return torch.split(rows, max(1, STACK_BYTES // (8 * values)))
