"""Every partition deals disjoint samples reproducibly, has the property it is named for, and ends
with a reason if it cannot."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mpifl.data.partition import PARTITIONS, Known, counts
from mpifl.data.partition import parts as module
from mpifl.data.partition.base import even, lognormal
from mpifl.data.partition.dirichlet import cut
from mpifl.data.partition.parts import group
from mpifl.options import BadInput
from mpifl.seeds import generator

CLIENTS = 12
LABELS = generator(0, "test labels").permutation(np.arange(2400) % 10)
DOMAINS = generator(0, "test domains").integers(4, size=2400)
CASES = {
    "iid": ("iid", {}),
    "iid, stratified": ("iid", {"stratified": True}),
    "dirichlet": ("dirichlet", {"alpha": 0.3}),
    "dirichlet, no cap": ("dirichlet", {"alpha": 0.3, "balance_cap": False, "minimum": 0}),
    "dirichlet, tiny alpha": ("dirichlet", {"alpha": 1e-6, "balance_cap": False, "minimum": 0}),
    "dirichlet_clients": ("dirichlet_clients", {"alpha": 0.3}),
    "dirichlet_clients, tiny alpha": ("dirichlet_clients", {"alpha": 1e-6}),
    "dirichlet_clients, exact": ("dirichlet_clients", {"alpha": 5.0, "method": "exact"}),
    "dirichlet_clients, sizes": ("dirichlet_clients", {"alpha": 0.3, "sigma": 0.8}),
    "classes, one": ("classes", {"per_client": 1}),
    "classes, three": ("classes", {"per_client": 3}),
    "classes, all": ("classes", {"per_client": 10}),
    "classes, niid": ("classes", {"per_client": 3, "style": "niid"}),
    "domains": ("domains", {}),
    "quantity": ("quantity", {"sigma": 1.0}),
}


def split(name, labels=LABELS, clients=CLIENTS, seed=1, domains=DOMAINS, **options):
    known = Known(labels, domains)
    return PARTITIONS[name](**options).split(known, clients, generator(seed, "partition"))


def sizes(parts):
    return np.array([len(part) for part in parts])


def uneven(n=3000):
    return generator(0, "uneven").choice(10, size=n, p=np.arange(1, 11) / 55)


def test_every_partition_is_tested():
    assert {name for name, _ in CASES.values()} == PARTITIONS.keys() - {"run", "natural"}


@pytest.mark.parametrize("labels", [LABELS, uneven(2400)], ids=["even classes", "uneven classes"])
@pytest.mark.parametrize("case", CASES)
def test_every_sample_goes_to_one_client(case, labels):
    name, options = CASES[case]
    parts = split(name, labels, **options)
    assert len(parts) == CLIENTS
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))


@pytest.mark.parametrize("case", CASES)
def test_same_seed_same_split(case):
    name, options = CASES[case]
    first, again, other = (np.concatenate(split(name, seed=seed, **options)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("case", CASES)
def test_more_clients_than_samples_is_refused(case):
    name, options = CASES[case]
    with pytest.raises(
        BadInput,
        match=rf"partition.{name}: expected a sample for each of 30 clients; got 20 samples",
    ):
        split(name, LABELS[:20], clients=30, **options)


@pytest.mark.parametrize(
    "name", sorted(PARTITIONS.keys() - {"run", "natural", "domains", "dirichlet"})
)
def test_one_client_has_everything(name):
    options = {"per_client": 10} if name == "classes" else {}
    assert sizes(split(name, clients=1, **options)).tolist() == [2400]


def test_a_thousand_clients_are_dealt_quickly():
    labels = generator(0, "many").permutation(np.arange(50_000) % 100)
    for name, options in (
        ("dirichlet", {"alpha": 0.3}),
        ("dirichlet_clients", {"alpha": 0.3}),
        ("classes", {}),
    ):
        parts = split(name, labels, clients=1000, **options)
        assert sizes(parts).min() >= 10


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_counts_are_by_client_and_class_in_blocks_of_clients_of_any_size(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    parts = group(np.array([0, 2, -1, 0]), clients=3)
    assert counts(np.array([2, 0, 1, 2]), parts, 4).tolist() == [
        [0, 0, 2, 0],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
    ]
    labels = uneven(len(LABELS))
    parts = split("quantity", labels)
    expected = [np.bincount(labels[part], minlength=12).tolist() for part in parts]
    assert counts(labels, parts, 12).tolist() == expected


def test_parts_are_a_sequence_of_views():
    parts = group(np.array([2, 0, 2]), clients=4)
    assert [part.tolist() for part in parts] == [[1], [], [0, 2], []]
    assert (parts[-2].tolist(), len(parts), parts.sizes.tolist()) == ([0, 2], 4, [1, 0, 2, 0])
    assert parts[2].base is parts.indices.base or parts[2].base is parts.indices
    with pytest.raises(IndexError):
        parts[4]


@pytest.mark.parametrize("clients", [7, 12])
def test_iid_sizes_differ_by_one_at_most(clients):
    assert np.ptp(sizes(split("iid", clients=clients))) <= 1


@pytest.mark.parametrize("labels", [LABELS, uneven()], ids=["even classes", "uneven classes"])
def test_stratified_counts_differ_by_one_at_most(labels):
    parts = split("iid", labels, clients=7, stratified=True)
    assert np.ptp(counts(labels, parts, 10), axis=0).max() <= 1
    assert np.ptp(sizes(parts)) <= 1


@pytest.mark.parametrize(("alpha", "minimum"), [(0.1, 10), (0.1, 60), (0.5, 150), (100.0, 190)])
def test_dirichlet_leaves_no_client_below_the_minimum(alpha, minimum):
    assert sizes(split("dirichlet", alpha=alpha, minimum=minimum)).min() >= minimum


def test_dirichlet_s_cap_ends_what_a_client_gets():
    table = counts(LABELS, split("dirichlet", alpha=0.1), 10)
    before = np.cumsum(table, axis=1) - table
    assert (table[before >= 2400 / CLIENTS] == 0).all()
    uncapped = counts(LABELS, split("dirichlet", alpha=0.1, balance_cap=False, minimum=0), 10)
    assert uncapped.sum(axis=1).max() > table.sum(axis=1).max()


@pytest.mark.parametrize("cap", [True, False])
def test_dirichlet_of_large_alpha_gives_equal_shares(cap):
    table = counts(LABELS, split("dirichlet", alpha=1e12, balance_cap=cap), 10)
    assert np.abs(table - 240 / CLIENTS).max() <= 1


@pytest.mark.parametrize("cap", [True, False])
def test_rounding_does_not_starve_the_same_clients_in_every_class(cap):
    found = sizes(split("dirichlet", clients=480, alpha=1e12, balance_cap=cap, minimum=1))
    assert found.max() <= 10  # of a mean of 5, in pieces of 0 and 1


def test_dirichlet_of_tiny_alpha_gives_classes_whole_even_under_the_cap():
    parts = split("dirichlet", clients=10, alpha=1e-6)
    assert sorted((counts(LABELS, parts, 10) > 0).sum(axis=1)) == [1] * 10


def test_cut_pieces_add_up_whatever_the_rounding():
    random = generator(1, "cuts")
    for n in (0, 1, 5, 999):
        for shares in random.dirichlet(np.full(50, 0.05), size=200):
            pieces = cut(shares, n)
            assert pieces.sum() == n
            assert (np.abs(pieces - shares * n) < 1 + 1e-9).all()


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_dirichlet_clients_have_equal_sizes(method):
    assert sizes(split("dirichlet_clients", alpha=5.0, method=method)).tolist() == [200] * CLIENTS
    assert np.ptp(sizes(split("dirichlet_clients", clients=7, alpha=5.0, method=method))) == 1


def test_dirichlet_clients_of_large_alpha_are_alike_and_of_small_alpha_are_not():
    even_table = counts(LABELS, split("dirichlet_clients", alpha=1e9), 10)
    skewed = counts(LABELS, split("dirichlet_clients", alpha=0.1), 10)
    assert np.abs(even_table - 20).max() < 20
    assert (skewed.max(axis=1) > 80).sum() > CLIENTS / 2


def test_rejection_that_does_not_end_is_given_up():
    with pytest.raises(
        BadInput,
        match=r"dirichlet_clients: .* placed in 20000 draws; raise alpha or draws, or choose",
    ):
        split("dirichlet_clients", alpha=0.02, method="exact", draws=20_000)


@pytest.mark.parametrize("name", ["quantity", "dirichlet_clients"])
def test_sigma_spreads_sizes_like_a_log_normal(name):
    spread = np.log(
        sizes(split(name, clients=200, sigma=0.5, labels=np.resize(LABELS, 40_000)))
    ).std()
    assert 0.4 < spread < 0.6
    assert np.ptp(sizes(split(name, sigma=0.0))) == 0


@pytest.mark.parametrize("sigma", [0.0, 1.0, 30.0])
def test_log_normal_sizes_add_up_and_leave_nobody_out(sigma):
    for n, parts in ((10, 10), (11, 10), (1000, 7)):
        found = lognormal(n, parts, sigma, generator(1, "sizes"))
        assert found.sum() == n
        assert found.min() >= 1


def test_even_parts_add_up():
    assert even(11, 4).tolist() == [3, 3, 3, 2]


@pytest.mark.parametrize("style", ["fedln", "niid"])
@pytest.mark.parametrize("per_client", [1, 2, 5, 10])
def test_classes_are_as_many_as_asked(style, per_client):
    table = counts(LABELS, split("classes", per_client=per_client, style=style), 10)
    assert ((table > 0).sum(axis=1) == per_client).all()


@pytest.mark.parametrize(("clients", "per_client"), [(10, 1), (20, 2), (20, 7), (100, 5), (30, 9)])
def test_fedln_s_classes_give_equal_sizes_where_they_can(clients, per_client):
    parts = split("classes", clients=clients, per_client=per_client, labels=np.arange(27_000) % 10)
    assert np.ptp(sizes(parts)) <= per_client
    owners = (counts(np.arange(27_000) % 10, parts, 10) > 0).sum(axis=0)
    assert np.ptp(owners) <= 1


def test_niid_s_first_class_is_the_client_s_own():
    table = counts(LABELS, split("classes", per_client=2, style="niid"), 10)
    assert all(table[client, client % 10] > 0 for client in range(CLIENTS))


@pytest.mark.parametrize(
    ("domains", "clients"), [((2048, 2344, 3929), (3, 3, 4)), ((2344, 1670, 3929), (3, 2, 5))]
)
def test_domains_dealt_by_size_have_clients_of_like_sizes_that_stand_together(domains, clients):
    of_samples = np.repeat([0, 2, 3], domains)  # domain 1 is left out
    labels = np.zeros(len(of_samples), np.int64)
    parts = split("domains", labels, 10, domains=of_samples, deal="size")
    found = [set(of_samples[part].tolist()) for part in parts]
    assert found == [{0}] * clients[0] + [{2}] * clients[1] + [{3}] * clients[2]
    assert sum(parts.sizes) == len(of_samples)


def test_domains_are_dealt_in_turn_and_shared_evenly():
    parts = split("domains", clients=10)
    seen = [set(DOMAINS[part].tolist()) for part in parts]
    assert seen == [{client % 4} for client in range(10)]
    for domain in range(4):
        assert np.ptp(sizes(parts)[domain::4]) <= 1


REFUSED = {
    "minimum above the mean": (
        "dirichlet",
        {"minimum": 201},
        "expected at least 201 samples for each of 12 clients",
    ),
    "minimum not met": (
        "dirichlet",
        {"alpha": 1e-6, "tries": 50},
        "none such in 50 tries; raise alpha or lower",
    ),
    "too many classes": ("classes", {"per_client": 11}, "per_client of at most 10 classes; got 11"),
    "no domains": ("domains", {"domains": None}, "expected data with domains"),
    "fewer clients than domains": (
        "domains",
        {"clients": 3},
        "a client for each of 4 domains; got 3 clients",
    ),
    "fewer samples than clients of a domain": (
        "domains",
        {"clients": 8, "domains": np.minimum(np.arange(2400), 3), "labels": LABELS},
        "2 clients for the 1 of a domain",
    ),
    "classes without owners": (
        "classes",
        {"clients": 4},
        "an owner for each class; got 2 of 10 without",
    ),
    "niid classes without owners": (
        "classes",
        {"clients": 4, "per_client": 1, "style": "niid"},
        "got 6 of 10 without",
    ),
    "more owners than samples": (
        "classes",
        {"labels": np.minimum(np.arange(2400), 2), "per_client": 3},
        "got 1 samples of a class for 12 owners",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_requests_end_with_a_reason(case):
    name, options, message = REFUSED[case]
    with pytest.raises(BadInput, match=rf"^partition.{name}: .*{message}"):
        split(name, **options)


@pytest.mark.parametrize("name", ["dirichlet", "dirichlet_clients"])
@pytest.mark.parametrize("alpha", [0.0, -1.0, 1e-9, float("nan"), float("inf"), "0.3"])
def test_alpha_must_be_positive_and_finite(name, alpha):
    with pytest.raises(BadInput):
        PARTITIONS[name](alpha=alpha)


def recorded(monkeypatch, parts, **options):
    indices = np.concatenate(parts)
    offsets = np.cumsum([0, *(len(part) for part in parts)])
    run = SimpleNamespace(whole_partition=lambda: (indices, offsets))
    monkeypatch.setitem(
        sys.modules, "mpifl.store", SimpleNamespace(Run=SimpleNamespace(open=lambda path: run))
    )
    return split("run", path="runs/x", **options)


def test_a_run_s_partition_is_taken_as_it_was(monkeypatch):
    parts = [np.array([0, 5]), np.array([7, 2, 3])]
    found = recorded(monkeypatch, parts, clients=2)
    assert [part.tolist() for part in found] == [[0, 5], [2, 3, 7]]


@pytest.mark.parametrize(
    ("parts", "clients", "message"),
    [
        ([[0], [1]], 3, "a run of 3 clients; got 2 in runs/x; set clients = 2"),
        ([[0], [2400]], 2, "samples below 2400; got sample 2400"),
        ([[0, 1], [1]], 2, "repeated or negative"),
        ([[0, -1], [1]], 2, "repeated or negative"),
    ],
)
def test_a_run_of_other_clients_or_data_is_refused(monkeypatch, parts, clients, message):
    with pytest.raises(BadInput, match=message):
        recorded(monkeypatch, [np.array(part) for part in parts], clients=clients)


def natural(clients, stored):
    labels = np.zeros(6, dtype=np.int64)
    random = generator(1, "partition")
    return PARTITIONS["natural"]().split(Known(labels, clients=stored), clients, random)


def test_natural_clients_are_those_of_the_data_counted_without_those_that_have_no_samples():
    parts = natural(3, np.array([7, 2, 7, 4, 2, 7]))
    assert [part.tolist() for part in parts] == [[1, 4], [3], [0, 2, 5]]


def test_natural_clients_of_another_number_are_refused_with_the_right_one():
    with pytest.raises(BadInput, match=r"partition.natural: expected clients = 3, .*; got 4; set"):
        natural(4, np.array([7, 2, 7, 4, 2, 7]))


def test_natural_clients_of_data_without_clients_are_refused():
    with pytest.raises(BadInput, match="partition.natural: .*; got data without clients; pack"):
        natural(3, None)
