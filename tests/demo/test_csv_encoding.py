import codecs

import pytest

from demo.csv_encoding import BLOCK_BYTES, Encoding, detect_encoding, guess_encoding
from tests.demo.streams import detect, opener, rows_of

WESTERN = ["Käse", "Müller", "Größe", "café", "naïve", "façade", "señor", "Björn", "Ærø", "12 €"]
POLISH = ["Łódź", "Kraków", "Wrocław", "Gdańsk", "Poznań", "Częstochowa", "Świętokrzyskie"]
RUSSIAN = ["Москва", "Санкт-Петербург", "Новосибирск", "Екатеринбург", "Иванов"]
GREEK = ["Αθήνα", "Θεσσαλονίκη", "Πάτρα", "Ηράκλειο"]
JAPANESE = ["東京", "大阪府", "横浜市", "カタカナ", "ひらがな", "名前"]
CHINESE = ["北京市", "上海市", "广州", "深圳", "姓名", "地址"]
TAIWANESE = ["台北市", "高雄市", "臺中市", "姓名", "地址", "電話"]
KOREAN = ["서울특별시", "부산광역시", "이름", "주소", "전화번호"]


def table(words: list[str]) -> str:
    return "id,word\n" + "".join(f"{number},{word}\n" for number, word in enumerate(words))


@pytest.mark.parametrize(
    ("bom", "codec", "name"),
    [
        (codecs.BOM_UTF8, "utf-8", "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides_and_is_no_text(bom, codec, name):
    data = bom + table(WESTERN).encode(codec)
    assert detect_encoding(opener(data)) == Encoding(name=name, bom=bom)
    assert detect(data).header.names == ("id", "word")
    assert [row[1] for row in rows_of(data)] == WESTERN


@pytest.mark.parametrize("text", [table(WESTERN), table(JAPANESE), "id,word\n1,plain\n", "id,word\n1,😀\n"])
def test_utf_8_is_proved_and_not_guessed(text):
    assert detect_encoding(opener(text)) == Encoding(name="utf-8")


@pytest.mark.parametrize(
    ("words", "codec"),
    [
        (WESTERN, "cp1252"),
        (["café"], "cp1252"),
        (["30 °C", "£5", "½ cup", "it’s"], "cp1252"),
        (["µg/m³", "São Paulo", "João"], "cp1252"),
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (GREEK, "cp1253"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (TAIWANESE, "big5"),
        (KOREAN, "cp949"),
    ],
)
def test_other_encodings_are_guessed_from_their_cells(words, codec):
    data = table(words).encode(codec)
    encoding = detect_encoding(opener(data))
    assert encoding.guessed
    assert data.decode(encoding.name) == table(words)


def test_the_only_umlaut_far_in_the_file_is_found():
    data = (
        b"id,word\n"
        + b"1,plain\n" * (3 * BLOCK_BYTES // 8)
        + "2,Größe\n".encode("cp1252")
        + b"3,plain\n" * 1000
    )
    assert detect_encoding(opener(data)) == Encoding(name="cp1252", guessed=True)
    assert ["2", "Größe"] in rows_of(data)


def test_utf_8_with_a_few_broken_bytes_is_not_guessed_at():
    data = (table(WESTERN) + table(POLISH)).encode() + b"9,caf\xe9\n"
    assert detect_encoding(opener(data)) == Encoding(name="utf-8")


def test_a_multibyte_character_across_two_blocks_is_whole():
    data = b"id,word\n" + b"x" * (BLOCK_BYTES - 9) + "é,1\n".encode()
    assert data[BLOCK_BYTES - 1 : BLOCK_BYTES + 1] == "é".encode()
    assert detect_encoding(opener(data)) == Encoding(name="utf-8")


def test_bytes_that_fit_nothing_are_left_to_the_reading():
    assert guess_encoding([b"\x81\x8d\x8f\x90\x9d\xff\xfe" * 5]) == Encoding(name="utf-8")


def test_labels_are_what_people_know():
    labels = [Encoding(name=name).label for name in ("utf-8", "utf-16-le", "cp1252", "cp932", "koi8_r")]
    assert labels == ["UTF-8", "UTF-16-LE", "Windows-1252", "Shift JIS", "KOI8-R"]
