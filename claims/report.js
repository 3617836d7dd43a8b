"use strict";
const filter = document.getElementById("filter");
const claims = [...document.querySelectorAll(".claim")];

function show() {
  const chosen = new FormData(filter);
  const verdicts = new Set(chosen.getAll("verdict"));
  const words = document.getElementById("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const claim of claims) {
    const fits = verdicts.has(claim.dataset.verdict)
      && ["grade", "kind"].every((name) => !chosen.get(name) || chosen.get(name) === claim.dataset[name])
      && words.every((word) => claim.dataset.search.includes(word));
    claim.hidden = !fits;
    count += fits;
  }
  document.getElementById("shown").textContent = `${count} of ${claims.length} shown`;
}

function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.matches(".claim")) return;
  target.hidden = false;
  target.open = true;
  target.scrollIntoView();
}

filter.addEventListener("input", show);
filter.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", follow);
show();
follow();
