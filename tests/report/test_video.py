import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from roboopt.report import Film, encode, side_by_side


def decoded(mp4, tmp_path):
    """Return what ffmpeg says of a film, and its pictures."""
    path = tmp_path / "film.mp4"
    path.write_bytes(mp4)
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:")
    done = subprocess.run([ffmpeg, "-i", str(path), *raw], capture_output=True)
    about = done.stderr.decode()
    found = re.search(r"Video: h264 .*? yuv420p.*?, (\d+)x(\d+).*? ([\d.]+) fps", about)
    assert found is not None, about
    width, height = int(found[1]), int(found[2])
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
    return float(found[3]), frames


def brightening(count, height=36, width=48):
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames += np.linspace(0, 240, count).astype(np.uint8)[:, None, None, None]
    return frames


def test_a_film_decodes_to_its_pictures(tmp_path):
    frames = brightening(12)
    rate, seen = decoded(encode(frames, 25.0), tmp_path)
    assert rate == 25
    assert seen.shape == frames.shape
    # The encoder is lossy: a few of 255 levels on pictures without an edge.
    assert np.abs(seen.astype(int) - frames).max() <= 6


def test_the_index_is_at_the_front():
    mp4 = encode(brightening(5), 25.0)
    assert 0 < mp4.find(b"moov") < mp4.find(b"mdat")


def test_odd_sizes_lose_a_line(tmp_path):
    _, seen = decoded(encode(brightening(3, 37, 49), 25.0), tmp_path)
    assert seen.shape[1:3] == (36, 48)


def test_films_stand_next_to_each_other_under_their_captions():
    films = [
        Film("before", "#ff0000", brightening(4, width=120)),
        Film("after", "#00ff00", brightening(4, width=120)),
    ]
    both = side_by_side(films)
    assert both.shape == (4, 80, 240, 3)
    np.testing.assert_array_equal(both[:, 44:, :120], brightening(4, width=120))
    np.testing.assert_array_equal(both[:, 10, 122], np.tile([0, 255, 0], (4, 1)))


def test_small_pictures_grow_until_their_captions_fit():
    small = np.random.default_rng(0).integers(0, 255, (3, 20, 90, 3), np.uint8)
    films = [Film(x, "#00ff00", small) for x in ("demonstrator", "clone")]
    both = side_by_side(films)
    # "demonstrator" takes 155 of three times 90 pixels, beside its margins.
    assert both.shape == (3, 44 + 60, 2 * 270, 3)
    np.testing.assert_array_equal(both[:, 45::3, 1:270:3], small)
    # Nothing is written at the end of the caption.
    assert (both[:, :44, 230:270] == both[0, 0, 269]).all()


def test_a_mark_says_in_each_picture_whether_the_criterion_holds():
    holds = np.array([False, True, True, False])
    wide = [np.zeros((20, 300, 3), np.uint8)] * 4
    seen = side_by_side([Film("after", "#00ff00", wide, holds)])
    np.testing.assert_array_equal(seen[0], seen[3])
    np.testing.assert_array_equal(seen[1], seen[2])
    green = [(picture == [63, 191, 127]).all(-1).sum() for picture in seen]
    assert green[0] == 0 and green[1] > 50


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="`films` must be of one shape"):
        side_by_side([Film("a", "#ff0000", brightening(n)) for n in (2, 3)])
    with pytest.raises(ValueError, match="`frames` must not be empty"):
        encode(brightening(2)[:0], 25.0)
    with pytest.raises(ValueError, match="`frames_per_second` positive"):
        encode(brightening(2), 0.0)


def test_a_failing_encoder_is_an_error():
    with pytest.raises(RuntimeError, match="could not encode"):
        encode(brightening(2, 1, 1), 25.0)
