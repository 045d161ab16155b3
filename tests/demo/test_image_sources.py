import io

import pytest

from demo import image_sources
from demo.image_sources import BadUpload, TargetNames, Upload, plan_pictures, safe_path
from tests.demo.images import archive, image, uploaded, with_flags

PICTURE = image()


def planned(*uploads: Upload, extension=".webp"):
    return plan_pictures(uploads, extension)


def targets(*uploads: Upload) -> list[str]:
    return [picture.target for picture in planned(*uploads).pictures]


def test_images_and_archives_mixed():
    plan = planned(
        uploaded("a.jpg", PICTURE, "1"),
        uploaded("trip.zip", archive({"lake/b.png": PICTURE, "lake/deep/b.png": PICTURE}), "2"),
        uploaded("home.zip", archive({"b.png": PICTURE}), "3"),
    )
    assert [(picture.file, picture.source, picture.target) for picture in plan.pictures] == [
        ("1", "a.jpg", "a.webp"),
        ("2", "trip/lake/b.png", "trip/lake/b.webp"),
        ("2", "trip/lake/deep/b.png", "trip/lake/deep/b.webp"),
        ("3", "home/b.png", "home/b.webp"),
    ]
    assert plan.pictures[0].place is None
    assert len(plan.pictures[1].place) == 5
    assert plan.unpacked == 3 * len(PICTURE)


def test_the_folders_of_one_archive_stay_as_they_are():
    assert targets(uploaded("trip.zip", archive({"lake/b.png": PICTURE}))) == ["lake/b.webp"]


def test_what_is_no_image_is_skipped_and_said():
    plan = planned(
        uploaded(
            "trip.zip",
            archive(
                {
                    "a.jpg": PICTURE,
                    "__MACOSX/a.jpg": b"x",
                    "__MACOSX/._a.jpg": b"x",
                    "lake/.DS_Store": b"x",
                    "lake/Thumbs.db": b"x",
                    "lake/._b.jpg": b"x",
                    "notes.txt": b"BMW and other words",
                    "logo.svg": b"<svg/>",
                    "c.HEIC": b"x",
                    "more.zip": archive({"b.jpg": PICTURE}),
                }
            ),
        )
    )
    assert [picture.source for picture in plan.pictures] == ["a.jpg"]
    reasons = dict(plan.skipped)
    assert len(reasons) == 9
    assert {reasons[name] for name in reasons if "._" in name or "MACOSX" in name or "lake" in name} == {
        "a file of the operating system"
    }
    assert reasons["notes.txt"] == "no image"
    assert "SVG" in reasons["logo.svg"]
    assert "export it as JPEG" in reasons["c.HEIC"]
    assert "not looked into" in reasons["more.zip"]


def test_an_image_is_known_by_its_content_if_its_name_says_nothing():
    names = targets(
        uploaded("trip.zip", archive({"IMG_0001": PICTURE, "scan.dat": image(kind="WEBP"), "x": b"hello"}))
    )
    assert names == ["IMG_0001.webp", "scan.dat.webp"]
    assert targets(uploaded("upload", PICTURE)) == ["upload.webp"]


def test_what_is_named_like_an_image_fails_alone_later():
    assert targets(uploaded("a.jpg", b"no image"), uploaded("b.png", b"")) == ["a.webp", "b.webp"]


@pytest.mark.parametrize(
    ("uploads", "message"),
    [
        ([("empty.zip", archive({}))], "empty.zip is empty."),
        ([("folders.zip", archive({"a/": b""}))], "folders.zip is empty."),
        (
            [("notes.txt", b"hello")],
            "There is no image in what you chose; notes.txt, for example: no image.",
        ),
        ([("trip.zip", archive({"a.txt": b"hello"}))], "a.txt, for example"),
        ([("cut.zip", archive({"a.jpg": PICTURE})[:-40])], "cut.zip cannot be read. It is damaged"),
        (
            [("secret.zip", with_flags(archive({"a.jpg": PICTURE}), 1))],
            "secret.zip is encrypted; make an archive without a password.",
        ),
        ([("a.jpg", PICTURE), ("secret.zip", with_flags(archive({"a": b""}), 1))], "secret.zip is encrypted"),
    ],
)
def test_what_nothing_can_be_made_of_is_refused(uploads, message):
    with pytest.raises(BadUpload) as raised:
        planned(*(uploaded(name, data) for name, data in uploads))
    assert message in str(raised.value)


def test_too_many_images(monkeypatch):
    monkeypatch.setattr(image_sources, "MAX_IMAGES", 2)
    with pytest.raises(BadUpload, match="more than 2 images"):
        planned(uploaded("a.zip", archive({f"{number}.jpg": PICTURE for number in range(3)})))


def test_a_bomb_is_refused_by_what_it_says_it_holds(monkeypatch):
    monkeypatch.setattr(image_sources, "MAX_UNPACKED_BYTES", 30_000)
    bomb = archive({f"{number}.jpg": bytes(10_000) for number in range(4)})
    assert len(bomb) < 1_000
    with pytest.raises(BadUpload, match=r"With bomb.zip the images would take 39\.1\sKB when unpacked"):
        planned(uploaded("bomb.zip", bomb))


def test_a_single_image_that_is_too_large_is_skipped(monkeypatch):
    monkeypatch.setattr(image_sources, "MAX_IMAGE_BYTES", 1_000)
    plan = planned(uploaded("a.zip", archive({"huge.bmp": bytes(2_000), "b.jpg": b"x"})))
    assert plan.skipped == [("huge.bmp", "larger than 100 MB")]


def test_ten_thousand_images_are_planned_without_being_read():
    data = archive({f"{number // 100}/{number}.jpg": b"" for number in range(10_000)})

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            block = super().read(size)
            self.taken += len(block)
            return block

    stream = Counting(data)
    plan = planned(Upload("id", "all.zip", stream, len(data)))
    assert len({picture.target for picture in plan.pictures}) == 10_000
    directory = len(data) - data.index(b"PK\x01\x02")
    assert stream.taken < directory + 200_000


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("lake/a.jpg", "lake/a.jpg"),
        ("../../etc/passwd.jpg", "etc/passwd.jpg"),
        ("..\\..\\a.jpg", "a.jpg"),
        ("/abs/a.jpg", "abs/a.jpg"),
        ("C:\\Users\\a.jpg", "C_/Users/a.jpg"),
        ("\\\\server\\share\\a.jpg", "server/share/a.jpg"),
        ("a/./b/../c.jpg", "a/b/c.jpg"),
        ("...", "image"),
        ("", "image"),
        ("nul\x00\n.jpg", "nul__.jpg"),
        ("con.jpg", "_con.jpg"),
        ("COM1/a.jpg", "_COM1/a.jpg"),
        ("trailing. /a.jpg ", "trailing/a.jpg"),
        ('what?<>|"*.jpg', "what______.jpg"),
        ("e\u0301.jpg", "\u00e9.jpg"),
        ("\ud800.jpg", "_.jpg"),
        ("Łódź/写真.jpg", "Łódź/写真.jpg"),
        ("/".join("abcdefghij"), "c/d/e/f/g/h/i/j"),
    ],
)
def test_names_are_safe_on_any_system(name, safe):
    assert safe_path(name) == safe


def test_long_names_are_cut_before_their_ending():
    assert safe_path("x" * 300 + ".jpg") == "x" * 96 + ".jpg"


def test_no_two_thumbnails_have_the_same_name():
    names = TargetNames(".webp")
    given = [names.fresh(name) for name in ("a.jpg", "a.png", "A.JPG", "a (2).gif", "b/a.jpg", "../a.jpg")]
    assert given == ["a.webp", "a (2).webp", "A (3).webp", "a (2) (2).webp", "b/a.webp", "a (4).webp"]
    assert len({name.casefold() for name in given}) == len(given)


def test_points_in_a_name_are_no_ending():
    assert TargetNames(".png").fresh("photo.v2") == "photo.v2.png"
