from decimal import Decimal

import pytest

from demo import order_totals
from demo.order_columns import BadOrders, Choice, find_columns
from demo.order_totals import FileTotals, Totals, add_up, merge
from tests.demo.streams import detect, profiled


def added(data: str, *, group="file", **names: str) -> FileTotals:
    profiles = list(profiled(data).values())
    columns = find_columns(profiles, Choice(**names))
    return add_up(detect(data), columns, [profile.verdict for profile in profiles], group)


def rows(data: str, **names: str) -> list[list]:
    return added(data, **names).totals.to_json()


def test_orders_are_added_up_by_month_and_shop():
    data = "date,shop,amount\n2026-05-01,B,0.10\n2026-05-31,B,0.20\n2026-06-01,B,1\n2026-05-02,A,-5.00\n"
    assert rows(data) == [
        ["2026-05", "A", 1, "-5.00"],
        ["2026-05", "B", 2, "0.30"],
        ["2026-06", "B", 1, "1"],
    ]


def test_without_a_column_of_shops_the_name_given_is_the_group():
    assert added("day,amount\n2026-05-01,1\n", group="berlin").totals.to_json()[0][1] == "berlin"


def test_amounts_and_dates_are_read_as_they_are_written():
    german = "Datum;Betrag\n31.05.2026;1.234,56\n01.06.2026;0,44\n"
    assert rows(german) == [["2026-05", "file", 1, "1234.56"], ["2026-06", "file", 1, "0.44"]]
    american = 'date,amount\n05/31/2026,"1,234.56"\n06/01/2026,0.44\n'
    assert rows(american) == [["2026-05", "file", 1, "1234.56"], ["2026-06", "file", 1, "0.44"]]
    moments = "created,amount\n2026-05-31T23:59:59Z,1\n2026-06-01 00:00,2\n"
    assert [row[0] for row in rows(moments)] == ["2026-05", "2026-06"]


def test_sums_are_exact():
    data = "date,amount\n" + "2026-05-01,0.1\n" * 1_000 + "2026-05-01,99999999999999999999.9\n"
    assert rows(data)[0][3] == "100000000000000000099.9" or rows(data)[0][3] == "100000000000000000099.9"


def test_rows_that_cannot_be_counted_are_told_by_their_lines():
    good = "2026-05-01,1.00\n" * 60
    found = added(f'date,amount\n"2026-05-01\n",1\n{good},5\n2026-05-02,n/a\nsoon,7\n2026-05-03,free\n')
    assert found.totals.whole == (61, Decimal("61.00"))
    assert found.examples == [
        (64, "“date” is missing."),
        (65, "“amount” is missing."),
        (66, "“soon” is no date."),
        (67, "“free” is no amount."),
    ]
    assert found.left_out == 4


def test_the_total_at_the_end_of_an_export_is_not_counted_twice():
    found = added("date,amount\n2026-05-01,1\n2026-05-02,2\nTotal:,3\n" + "2026-05-03,1\n" * 40)
    assert found.totals.whole == (42, Decimal(43))
    assert found.examples == [(4, "“Total:” is no date.")]


def test_of_many_bad_rows_the_first_are_named(monkeypatch):
    monkeypatch.setattr(order_totals, "MAX_LEFT_OUT", 3)
    found = added("date,amount\n" + "2026-05-01,\n" * 10 + "2026-05-01,1\n")
    assert (found.left_out, len(found.examples)) == (10, 3)


@pytest.mark.parametrize(
    ("data", "names", "message"),
    [
        (
            "date,amount,note\n2026-05-01,1,hello\n2026-05-01,1,you\n",
            {"amount": "note"},
            "The column “note” holds no amounts: “hello” in line 2.",
        ),
        (
            "date,amount\n2026-05-01,1\n2026-05-01,€ 2\n2026-05-01,€ 3\n",
            {"amount": "amount"},
            "The column “amount” holds no amounts: “€ 2” in line 3.",
        ),
        (
            "date,amount\nMay 1st,1\n",
            {"date": "date"},
            "The column “date” holds no dates: “May 1st” in line 2.",
        ),
        ("date,amount\n,1\n", {"date": "date"}, "The column “date” is empty."),
        (
            "date,amount\n2026-05-01,\n,3\n",
            {"date": "date", "amount": "amount"},
            "Not one row has both a date and an amount. Line 2: “amount” is missing.",
        ),
    ],
)
def test_columns_that_hold_something_else_are_refused_with_a_line(data, names, message):
    with pytest.raises(BadOrders) as raised:
        added(data, **names)
    assert message in str(raised.value)


def test_too_many_groups_are_refused(monkeypatch):
    monkeypatch.setattr(order_totals, "MAX_TOTALS", 3)
    with pytest.raises(BadOrders, match="more than 3 totals; choose a column with fewer values"):
        added("date,shop,amount\n" + "".join(f"2026-05-01,s{n},1\n" for n in range(4)))


def test_a_shop_without_a_name_is_a_dash():
    assert [row[1] for row in rows("date,shop,amount\n2026-05-01,,1\n2026-05-01, A  B ,1\n")] == ["A B", "–"]


def result(name="a.csv", digest=None, totals=(("2026-05", "A", 2, "1.50"),), left_out=0) -> dict:
    return {
        "file": name,
        "digest": digest or name,
        "rows": 2,
        "columns": {"date": "date"},
        "totals": [list(row) for row in totals],
        "left_out": left_out,
        "left_out_rows": [[3, "why"]] * left_out,
        "notes": [],
    }


def test_files_are_merged():
    merged = merge([result(), result("b.csv", totals=[("2026-05", "A", 1, "0.5"), ("2026-06", "B", 1, "1")])])
    assert merged["totals"] == [["2026-05", "A", 3, "2.00"], ["2026-06", "B", 1, "1"]]
    assert (merged["rows"], [file["file"] for file in merged["files"]]) == (4, ["a.csv", "b.csv"])
    assert "digest" not in merged["files"][0]


def test_the_same_file_twice_would_be_counted_twice():
    with pytest.raises(BadOrders, match=r"“a\.csv” and “copy\.csv” are the same file"):
        merge([result(), result("copy.csv", digest="a.csv")])
    with pytest.raises(BadOrders):
        merge([result(), result()])


def test_a_file_without_rows_adds_nothing_and_all_without_are_refused():
    assert merge([result(), result("empty.csv", totals=[])])["totals"] == [["2026-05", "A", 2, "1.50"]]
    with pytest.raises(BadOrders, match="no orders in these files"):
        merge([result(totals=[])])


def test_totals_by_month_and_by_group():
    totals = Totals.from_json([["2026-06", "B", 1, "1"], ["2026-05", "B", 1, "2"], ["2026-05", "A", 1, "4"]])
    assert totals.by(0) == {"2026-05": (2, Decimal(6)), "2026-06": (1, Decimal(1))}
    assert totals.by(1) == {"A": (1, Decimal(4)), "B": (2, Decimal(3))}
    assert totals.whole == (3, Decimal(7))
