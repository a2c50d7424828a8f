"""How messages name files and folders."""

from pathlib import Path

from framework.config.folders import conf_folder, shown


def test_paths_are_short_where_everyone_knows_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "runs" / "one") == "runs/one"
    assert shown(conf_folder() / "model" / "cnn.yaml") == "conf/model/cnn.yaml"
    assert shown(Path("/elsewhere/photo.jpg")) == "/elsewhere/photo.jpg"
    assert shown(tmp_path) == str(tmp_path)
