"""Matrices of round trips as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federlib.errors import InvalidInput
from federlib.vivaldi import MAX_LINE, MAX_NODES, read_matrix

SQUARE = "0,10,20.5\n10,0,30\n20.5,30,0\n"
PAIRS = "i,j,t1,t2,t3\n0,1,10,12,30\n0,2,20,,nan\n1,2,5,0,-1\n"


def test_a_square_is_read_row_by_row() -> None:
    found = read_matrix(SQUARE.splitlines())
    assert found.nodes == 3
    assert len(found.slices) == 1
    assert found.truth == [[0, 10, 20.5], [10, 0, 30], [20.5, 30, 0]]


def test_routes_need_not_be_symmetric() -> None:
    assert read_matrix(["0,10", "12,0"]).truth == [[0, 10], [12, 0]]


@pytest.mark.parametrize("missing", ["", " ", "0", "-5", "nan", "NaN"])
def test_what_was_not_measured_is_missing(missing: str) -> None:
    assert read_matrix([f"7,{missing}", "10,7"]).truth == [[0, 0], [10, 0]]


def test_pairs_make_a_slice_for_each_instant_and_their_median_is_the_truth() -> None:
    found = read_matrix(PAIRS.splitlines())
    assert [each[0][1] for each in found.slices] == [10, 12, 30]
    assert [each[1][0] for each in found.slices] == [10, 12, 30]
    # Only what was measured is in the median.
    assert found.truth == [[0, 12, 20], [12, 0, 5], [20, 5, 0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "2 to 4096 nodes", id="nothing"),
        pytest.param("0", "2 to 4096 nodes", id="one node"),
        pytest.param("0,1\n1", "line 2: expected 2 lines of 2 fields", id="a short line"),
        pytest.param("0,1\n1,0\n1,1", "a line more", id="a line more"),
        pytest.param("0,1", "2 lines of 2 fields", id="a line less"),
        pytest.param("0,ten\n10,0", "line 1: expected milliseconds", id="a word"),
        pytest.param("0,inf\n10,0", "line 1: expected milliseconds", id="infinite"),
        pytest.param("0,1e-320\n1,0", "line 1: expected milliseconds", id="next to nothing"),
        pytest.param("0,1e308\n1,0", "line 1: expected milliseconds", id="next to infinite"),
        pytest.param("0,0\n0,0", "a round trip above 0", id="nothing measured"),
        pytest.param("i,j,t1", "pairs at one instant", id="only a header"),
        pytest.param("i,j\n0,1", "pairs at one instant", id="no instant"),
        pytest.param("i,j,t1\n0,1", "line 2: expected 3 fields", id="a pair without a time"),
        pytest.param("i,j,t1\n0,-1,5", "a node from 0", id="less than the first node"),
        pytest.param("i,j,t1\n0,4096,5", "a node from 0", id="more nodes than there may be"),
        pytest.param("i,j,t1\n0,²,5", "a node from 0", id="no number of a node"),
        pytest.param("i,j,t1\n0,0,5", "2 to 4096 nodes", id="only itself"),
    ],
)
def test_what_is_no_matrix_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_matrix(text.splitlines(), name="matrix")


def test_more_nodes_than_there_may_be_are_refused_before_they_are_read() -> None:
    with pytest.raises(InvalidInput, match=f"at most {MAX_NODES} nodes"):
        read_matrix(["," * MAX_NODES])


def test_a_short_file_that_names_a_distant_node_and_many_instants_makes_no_room_for_them() -> None:
    instants = 2_000
    header = "i,j," + ",".join(f"t{k}" for k in range(instants))
    with pytest.raises(InvalidInput, match=r"line 2: expected at most .* values"):
        read_matrix([header, "0,4095" + ",5" * instants])


def test_a_line_is_not_taken_apart_before_its_length_is_known() -> None:
    with pytest.raises(InvalidInput, match=f"line 1: expected at most {MAX_LINE} characters"):
        read_matrix(["," * (MAX_LINE + 1)])


def test_a_path_and_bytes_are_no_lines_of_text() -> None:
    with pytest.raises(InvalidInput, match="expected lines of text, as an open file"):
        read_matrix("matrix.csv")
    with pytest.raises(InvalidInput, match="line 1: expected text"):
        read_matrix([b"0,1", b"1,0"])  # type: ignore[list-item]  # the mistake this is about


@given(st.text(alphabet="ij,t.0123456789-en\n", max_size=60) | st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        found = read_matrix(text.splitlines())
    except InvalidInput:
        return
    assert found.nodes >= 2
    assert all(len(row) == found.nodes for row in found.truth)
