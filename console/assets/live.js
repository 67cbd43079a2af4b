// Keeps the counters of the overview up to date. Without it, the page shows them as they were when it
// was loaded.
"use strict";

const section = document.querySelector("[data-live-source]");
const state = section?.querySelector("[data-live-state]");
const format = new Intl.NumberFormat("en-US");
let source = null;

function show(live) {
  for (const element of section.querySelectorAll("[data-live]")) {
    const value = element.dataset.live.split(".").reduce((part, name) => part?.[name], live);
    if (typeof value === "number") {
      const text = format.format(value);
      // A screen reader speaks what changes, so nothing else is written.
      if (element.textContent !== text) {
        element.textContent = text;
      }
    }
  }
}

function say(text) {
  if (state.textContent !== text) {
    state.textContent = text;
  }
}

function open() {
  source = new EventSource(section.dataset.liveSource);
  source.addEventListener("message", (event) => {
    const live = JSON.parse(event.data);
    if (live === null) {
      say("The database does not answer.");
    } else {
      show(live);
      say("Live.");
    }
  });
  source.addEventListener("error", () => {
    say(source.readyState === EventSource.CLOSED ? "Stopped. Load the page again." : "Connecting…");
  });
}

function close() {
  source?.close();
  source = null;
}

if (section && state && "EventSource" in window) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Pause";
  button.addEventListener("click", () => {
    if (source) {
      close();
      say("Paused.");
      button.textContent = "Resume";
    } else {
      open();
      button.textContent = "Pause";
    }
  });
  state.parentElement.append(" ", button);
  open();
  // A page that the browser keeps for the back button must not hold the connection.
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && !source && button.textContent === "Pause") {
      open();
    }
  });
}
