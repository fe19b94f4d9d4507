// Buttons beside commands: copied, or selected where the browser does not let a page copy.
function addCopy(command) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  const text = command.querySelector("code");
  button.setAttribute("aria-label", "Copy " + text.textContent);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  command.append(button);
}
document.querySelectorAll(".command").forEach(addCopy);
