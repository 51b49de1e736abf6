// Before the scripts of the widgets: where their parts lie, and the one call of an older MathJax that they still make.
const root = document.documentElement.dataset.content_root;
window.__jupyter_widgets_assets_path__ = new URL(root + "_static/", document.baseURI).href;
requirejs.config({ paths: { anywidget: root + "_static/anywidget" } });
window.FontAwesomeConfig = { autoReplaceSvg: "nest" }; // the theme draws icons; the play button looks for its own tags
window.addEventListener("load", () => {
  if (!window.MathJax) return;
  MathJax.Hub = { Queue: ([, , element]) => MathJax.typesetPromise([element]) };
});
