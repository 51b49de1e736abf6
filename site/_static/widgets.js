// Before the scripts of the widgets: where their parts lie, and the one call of an older MathJax that they still make.
document.documentElement.classList.add("js"); // the still pictures give way
const root = document.documentElement.dataset.content_root;
window.__jupyter_widgets_assets_path__ = new URL(root + "_static/", document.baseURI).href;
requirejs.config({ paths: { anywidget: root + "_static/anywidget" } });
window.FontAwesomeConfig = { autoReplaceSvg: "nest" }; // the theme draws icons; the play button looks for its own tags
// the frames under a slider have no words of their own: they take those of the still picture
new MutationObserver(() => {
  for (const frame of document.querySelectorAll(".widget-subarea img:not([alt])")) {
    frame.alt = frame.closest(".cell_output")?.querySelector(".still img")?.alt ?? "";
  }
}).observe(document.documentElement, { childList: true, subtree: true });
window.addEventListener("load", () => {
  if (!window.MathJax) return;
  MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
});
