"""Chat templates."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.container_scripts.server_examples import SYSTEM, USER
from tests.unit.driver_images import Images, Tokenizer

if TYPE_CHECKING:
    from pathlib import Path


def test_chat_text_without_a_template_is_a_plain_dialogue(image: Images) -> None:
    """A model without a template gets a plain dialogue."""
    assert image.driver("chat_text").plain([SYSTEM, USER]) == "Be brief.\nUser: Hi\nAssistant:"


def test_chat_text_joins_a_refused_system_message_to_the_first_of_the_user(image: Images) -> None:
    """A template that refuses a system message gets it with the user's first."""
    chat_text = image.driver("chat_text")
    apply = Tokenizer().apply_chat_template
    assert chat_text.apply(apply, [SYSTEM, USER]) == "Be brief.\n\nHi <assistant>"
    with pytest.raises(ValueError, match="refused"):
        chat_text.apply(lambda _: (_ for _ in ()).throw(ValueError("refused")), [USER])


def test_chat_text_finds_the_template_in_either_file(image: Images, tmp_path: Path) -> None:
    """A template is found in either file and rendered."""
    chat_text = image.driver("chat_text")
    assert chat_text.template_of(str(tmp_path)) == ""
    several = {"chat_template": [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(several))
    assert chat_text.template_of(str(tmp_path)) == "D"
    (tmp_path / "chat_template.jinja").write_text("file")
    assert chat_text.template_of(str(tmp_path)) == "file"
    template = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | tojson }}{% endfor %}"
    assert chat_text.render(template, [USER], bos_token="<s>") == '<s>[user]"Hi"'
    with pytest.raises(ValueError, match="no"):
        chat_text.render("{{ raise_exception('no') }}", [USER])
