"""Which words of a page in a browser are hard to read: https://www.w3.org/TR/WCAG22/#contrast-minimum."""

from __future__ import annotations

import json

from tests.browser_support import Page

_LEAST = 4.5
_LOOK = """(least => {
  const parts = said => {
    const found = said.match(/[\\d.]+/g).map(Number), whole = said.startsWith("color(") ? 255 : 1;
    return [...found.slice(0, 3).map(part => part * whole), found[3] ?? 1];
  };
  const over = (front, back) => [...[0, 1, 2].map(i => front[i] * front[3] + back[i] * (1 - front[3])), 1];
  const luminance = colour => {
    const [red, green, blue] = colour.slice(0, 3).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const above = element => element ? [...above(element.parentElement), element] : [];
  const hard = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode, element = text.parentElement, range = document.createRange();
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (!text.data.trim() || element.closest("svg,script,style") || box.width < 1 || box.height < 1) continue;
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const styles = above(element).map(each => getComputedStyle(each));
    const ground = styles.reduce((back, style) => over(parts(style.backgroundColor), back), [255, 255, 255, 1]);
    const [red, green, blue, alpha] = parts(getComputedStyle(element).color);
    const opacity = styles.reduce((whole, style) => whole * style.opacity, alpha);
    const [low, high] = [ground, over([red, green, blue, opacity], ground)].map(luminance).sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < least) hard.push(`${ratio.toFixed(2)}: ${text.data.trim().slice(0, 60)} <${element.className}>`);
  }
  return JSON.stringify([...new Set(hard)]);
})"""


def hard_to_read(page: Page) -> list[str]:
    """Each text whose colour differs too little from its ground, figures' own aside."""
    said: list[str] = json.loads(page.look(f"{_LOOK}({_LEAST})"))
    return said
