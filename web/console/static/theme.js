// Runs before the first paint, so that no page flashes in the other colours.
(() => {
  const light = matchMedia("(prefers-color-scheme: light)");
  const apply = () => {
    let chosen = null;
    try { chosen = localStorage.getItem("theme"); } catch { /* storage is refused: follow the system */ }
    document.documentElement.dataset.theme = chosen || (light.matches ? "light" : "dark");
    dispatchEvent(new Event("themechange"));
  };
  light.addEventListener("change", apply);
  addEventListener("storage", apply);
  window.toggleTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", next); } catch { /* it lasts for this page only */ }
    document.documentElement.dataset.theme = next;
    dispatchEvent(new Event("themechange"));
  };
  apply();
})();
