import pytest

from demo.order_columns import BadOrders, Choice, OrderColumns, find_columns
from tests.demo.streams import profiled

ROWS = "id,date,shop,amount\n1,2026-05-01,Berlin,12.50\n2,2026-05-02,Paris,3.00\n"


def found(data: str, **names: str) -> OrderColumns:
    return find_columns(list(profiled(data).values()), Choice(**names))


def test_they_are_found_by_what_they_hold_and_are_called():
    assert found(ROWS) == OrderColumns(date=1, amount=3, group=2)


def test_without_a_column_of_shops_the_file_is_the_group():
    assert found("day;value\n2026-05-01;1,5\n").group is None


def test_the_only_number_is_the_amount_whatever_it_is_called():
    assert found("when,euros,who\n2026-05-01,12.50,Ada\n").amount == 1


def test_names_that_were_asked_for_win_whatever_their_capitals():
    data = "Ordered,Shipped,Net,Gross,Town\n2026-05-01,2026-05-02,1.00,1.19,Rome\n"
    assert found(data, date="shipped", amount=" NET ", group="town") == OrderColumns(1, 2, 4)


@pytest.mark.parametrize(
    ("data", "names", "message"),
    [
        (ROWS, {"amount": "net"}, "There is no column “net”. There are: “id”, “date”, “shop”, “amount”."),
        ("a,b\n1,x\n", {}, "No column holds what could be the date. There are: “a”, “b”."),
        ("date,b\n2026-05-01,x\n", {}, "No column holds what could be the amount"),
        (
            "ordered,shipped date,date,n\n2026-05-01,2026-05-01,2026-05-01,1\n",
            {},
            "Several columns could be the date: “ordered”, “shipped date”, “date”. Say in the form",
        ),
        ("date,net,gross\n2026-05-01,1,2\n", {}, "Several columns could be the amount: “net”, “gross”."),
    ],
)
def test_what_cannot_be_told_is_asked_with_the_names_there_are(data, names, message):
    with pytest.raises(BadOrders) as raised:
        found(data, **names)
    assert message in str(raised.value)


def test_not_all_of_two_thousand_names_are_told():
    data = ",".join(f"c{number}" for number in range(50)) + "\n"
    with pytest.raises(BadOrders) as raised:
        find_columns(list(profiled(data + ",".join("x" * 50) + "\n").values()), Choice(date="date"))
    assert "“c19”, …" in str(raised.value)
    assert "“c20”" not in str(raised.value)
