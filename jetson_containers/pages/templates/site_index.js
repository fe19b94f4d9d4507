// Search and filters; what is chosen stands in the address, so that it can be sent.
const search = document.getElementById("search"), board = document.getElementById("board");
const jetpack = document.getElementById("jetpack"), found = document.getElementById("found");
const heads = [...document.querySelectorAll("#matrix thead th")].slice(1);
const rows = [...document.querySelectorAll("#matrix tbody tr")];

function wanted(head) {
  return (!board.value || head.dataset.boards.split(" ").includes(board.value))
    && (!jetpack.value || head.dataset.jetpack === jetpack.value);
}

function apply() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const columns = heads.map(wanted);
  heads.forEach((head, number) => { head.hidden = !columns[number]; });
  let count = 0;
  for (const row of rows) {
    const cells = [...row.querySelectorAll("td")];
    cells.forEach((cell, number) => { cell.hidden = !columns[number]; });
    const there = cells.some((cell, number) => columns[number] && !cell.classList.contains("no"));
    row.hidden = !there || !words.every(word => row.dataset.words.includes(word));
    count += !row.hidden;
  }
  const platforms = columns.filter(Boolean).length;
  found.textContent = `${count} ${count === 1 ? "family" : "families"} on ${platforms} ${platforms === 1 ? "platform" : "platforms"}`;
  document.getElementById("nothing").hidden = count > 0;
  const chosen = new URLSearchParams();
  for (const [name, control] of [["q", search], ["board", board], ["jetpack", jetpack]])
    if (control.value) chosen.set(name, control.value);
  history.replaceState(null, "", chosen.size ? "#" + chosen : location.pathname);
}

function restore() {
  const chosen = new URLSearchParams(location.hash.slice(1));
  search.value = chosen.get("q") ?? "";
  board.value = chosen.get("board") ?? "";
  jetpack.value = chosen.get("jetpack") ?? "";
  if (board.selectedIndex < 0) board.value = "";
  if (jetpack.selectedIndex < 0) jetpack.value = "";
  apply();
}

for (const control of [search, board, jetpack])
  for (const event of ["input", "change"]) control.addEventListener(event, apply);
document.getElementById("clear").addEventListener("click", () => {
  search.value = board.value = jetpack.value = "";
  apply();
  search.focus();
});
document.addEventListener("keydown", event => {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && document.activeElement === search) {
    search.value = "";
    apply();
  }
});
window.addEventListener("hashchange", restore);
restore();
