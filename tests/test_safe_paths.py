import pytest

from jmpose_cli.safe_paths import OutsideError, path_inside


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.jpg").touch()
    (tmp_path / "data" / "images" / "a.jpg").touch()
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["images/a.jpg", "./images//a.jpg", "images/none.jpg", "a..b/..c.jpg", "žluť/😀.jpg"])
def test_names_below_the_folder_are_joined_to_it(root, name):
    assert path_inside(root, name) == root / name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/passwd", "absolute"),
        ("//host/share/a.jpg", "absolute"),
        ("../secret/a.jpg", r"by '\.\.'"),
        ("images/../../secret/a.jpg", r"by '\.\.'"),
        ("images/../images/a.jpg", r"by '\.\.'"),
        ("..\\secret\\a.jpg", r"by '\.\.'"),
        ("C:\\a.jpg", "absolute"),
        ("\\\\host\\a.jpg", "absolute"),
        ("a\0.jpg", "NUL"),
    ],
)
def test_names_that_lead_out_are_refused(root, name, message):
    with pytest.raises(OutsideError, match=message):
        path_inside(root, name)


def test_links_that_lead_out_are_refused(root):
    (root / "folder").symlink_to(root.parent / "secret")
    (root / "file.jpg").symlink_to(root.parent / "secret" / "a.jpg")
    (root / "dangling.jpg").symlink_to(root.parent / "none")
    (root / "inner.jpg").symlink_to(root / "images" / "a.jpg")
    for name in ("folder/a.jpg", "folder/none.jpg", "file.jpg", "dangling.jpg"):
        with pytest.raises(OutsideError, match="by a link"):
            path_inside(root, name)
    assert path_inside(root, "inner.jpg") == root / "inner.jpg"


def test_a_root_that_is_a_link_is_a_root(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert path_inside(tmp_path / "link", "images/a.jpg") == tmp_path / "link" / "images/a.jpg"
