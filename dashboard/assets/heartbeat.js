// Asks the server for news at each tick, and says so on the page when no answer comes.
// An ask is {n, minutes_east}: its number and the viewer's time zone. News is {n, clock}: the number
// of the ask it answers, and the viewer's time of day when the server gave it.
(function () {
  "use strict";

  const SILENT_MS = 4000; // asks without an answer for so long, but two asks at least: the server is gone
  const EVERY = 3; // then ask at each third tick only, so that a hung server is not buried in questions
  const isPaused = (clicks) => (clicks || 0) % 2 === 1;
  const isGone = (ask, news, tickMs) =>
    (ask ? ask.n : 0) - (news ? news.n : 0) >= Math.max(2, Math.ceil(SILENT_MS / tickMs));
  const keep = () => window.dash_clientside.no_update;

  function ask(ticks, clicks, last, news, tickMs) {
    const isSpared = isGone(last, news, tickMs) && ticks % EVERY;
    if (isPaused(clicks) || (document.hidden && last) || isSpared) {
      return keep();
    }
    return { n: (last ? last.n : 0) + 1, minutes_east: -new Date().getTimezoneOffset() };
  }

  // A server that sends its own page elsewhere asks for a login, which a reload then shows.
  function showLoginIfAsked() {
    fetch(window.location.pathname, { redirect: "manual", headers: { Accept: "text/html" } })
      .then((answer) => answer.type === "opaqueredirect" && window.location.reload())
      .catch(() => null);
  }

  function watch(ticks, clicks, asked, news, tickMs) {
    const since = news ? "Last update " + news.clock + "." : "It has never answered this page.";
    if (isPaused(clicks)) {
      return ["Paused. " + since, "paused", "Resume"];
    }
    if (isGone(asked, news, tickMs)) {
      if (ticks % EVERY === 0) {
        showLoginIfAsked();
      }
      return ["The dashboard server does not answer. " + since, "gone", "Pause"];
    }
    return ["", "", "Pause"];
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { reviewpulse: { ask, watch } });
})();
