"""Text that stays as it is, but where it is told to change."""

import pytest

from roboopt.dynamics._xml_text import XmlText

TEXT = b"""<?xml version="1.0"?>
<!-- 1 > 0 <a b="c"/> -->
<top  x='1 > 0'
      y = "two" ><a/><a name="second" />
  <b>
    text <![CDATA[<a/>]]>
  </b>
</top>
"""


@pytest.fixture
def text():
    return XmlText(TEXT)


def test_untouched_it_is_what_it_was(text):
    assert text.data() == TEXT


def test_the_tree_is_the_parsers(text):
    assert [e.tag for e in text.root.walk()] == ["top", "a", "a", "b"]
    assert text.root.attributes == {"x": "1 > 0", "y": "two"}
    assert list(text.root.named("a")) == ["", "second"]
    assert text.root.find("b") is not None and text.root.find("c") is None


def test_attributes_change_in_their_place_or_come_last(text):
    text.set(text.root, y="2 & <3>", z="é")
    text.set(text.root, x='"')
    text.set(text.root.named("a")["second"], name="2nd")
    text.set(text.root.named("a")[""], name="first")
    assert text.data() == TEXT.replace(b"'1 > 0'", b"'\"'").replace(
        b'"two" >', b'"2 &amp; &lt;3&gt;" z="&#233;">'
    ).replace(b'"second"', b'"2nd"').replace(b"<a/><", b'<a name="first"/><', 1)


def test_children_go_to_the_beginning(text):
    b = text.root.find("b")
    assert b is not None
    text.insert(b, "<c/>")
    text.insert(text.root.named("a")["second"], "<d/>")
    text.insert(text.root.named("a")["second"], "<e/>")
    assert text.data() == TEXT.replace(b"<b>\n", b"<b>\n    <c/>\n").replace(
        b' name="second" />', b' name="second"><d/><e/></a>'
    )
