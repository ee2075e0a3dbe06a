"use strict";
// What a person copies: hashes, ids, and commands that hold this server's own address.
for (const place of document.querySelectorAll(".origin")) {
  place.textContent = new URL(".", location.href).href.replace(/\/$/, "");
}

function copyText(element) {
  // the clipboard is there for https and localhost alone; elsewhere the selection is copied
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element);
  return document.execCommand("copy") ? Promise.resolve() : Promise.reject(new Error("not allowed"));
}

function makeCopying(button) {
  const said = button.textContent;
  button.setAttribute("aria-live", "polite");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await copyText(document.getElementById(button.dataset.copies));
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
    setTimeout(() => { button.textContent = said; }, 2000);
  });
  return button;
}

document.querySelectorAll("button[data-copies]").forEach(makeCopying);
