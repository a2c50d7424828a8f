"""A page's policy names its own scripts, by hashes as browsers reckon them."""

from framework.core.policy import allowed, allowed_of

# the example of https://www.w3.org/TR/CSP3/
ALERT = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


def test_a_script_is_named_by_its_hash():
    assert allowed("alert('Hello, world.');") == ALERT
    assert allowed("alert('Hello, world.');", "") == f"{ALERT} 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


def test_the_scripts_of_a_page_are_those_between_its_tags():
    page = "<script src='a.js'></script><script type='application/json'>{}</script><script>alert('Hello, world.');</script>"
    assert allowed_of(page) == ALERT
