"use strict";
(() => {
  const list = document.querySelector(".picks");
  const picks = [...list.children];
  const tool = (name) => document.getElementById(name);
  const filters = ["part", "why", "class"].map(tool).filter(Boolean);
  const nothing = document.querySelector(".none");
  let falling = false;

  const fits = (pick) => {
    const sought = tool("search").value.trim().toLocaleLowerCase();
    const told = `${pick.dataset.name} ${pick.dataset.patient} ${pick.dataset.nearest}`.toLocaleLowerCase();
    return told.includes(sought) && filters.every((f) => !f.value || JSON.parse(pick.dataset[f.id]).includes(f.value));
  };

  const show = () => {
    let count = 0;
    for (const pick of picks) {
      pick.hidden = !fits(pick);
      count += !pick.hidden;
      pointOf(pick)?.toggleAttribute("hidden", pick.hidden);
    }
    tool("count").value = `${count} of ${picks.length}`;
    nothing.hidden = count > 0;
  };

  const sort = () => {
    const key = tool("sort").value;
    const text = new Intl.Collator(undefined, { numeric: true });
    const compare = (a, b) => {
      const [one, other] = [a.dataset[key], b.dataset[key]];
      if (!one || !other) return !one - !other; // what is not known comes last, either way round
      const order = ["name", "patient"].includes(key) ? text.compare(one, other) : one - other;
      return (falling ? -order : order) || a.dataset.rank - b.dataset.rank;
    };
    list.append(...[...picks].sort(compare));
  };

  const pointOf = (pick) => document.querySelector(`.chart a[href="#${pick.id}"]`);
  const tip = document.querySelector(".tip");
  const tell = (point) => {
    const pick = document.querySelector(point.getAttribute("href"));
    const [image, name] = [document.createElement("img"), document.createElement("bdi")];
    image.src = pick.querySelector("img").src;
    image.alt = "";
    name.textContent = `${pick.dataset.rank} · ${pick.dataset.name}`;
    tip.replaceChildren(image, name);
    tip.hidden = false;
    const [at, around] = [point.getBoundingClientRect(), tip.parentElement.getBoundingClientRect()];
    const left = at.left - around.left + 16;
    tip.style.left = `${left + tip.offsetWidth > around.width ? left - tip.offsetWidth - 28 : left}px`;
    tip.style.top = `${Math.max(0, Math.min(at.top - around.top, around.height - tip.offsetHeight))}px`;
    pick.classList.add("near");
  };
  for (const point of document.querySelectorAll(".chart a")) {
    const hide = () => {
      tip.hidden = true;
      document.querySelector(point.getAttribute("href")).classList.remove("near");
    };
    for (const begin of ["pointerenter", "focus"]) point.addEventListener(begin, () => tell(point));
    for (const end of ["pointerleave", "blur"]) point.addEventListener(end, hide);
  }
  for (const pick of picks) {
    pick.addEventListener("pointerenter", () => pointOf(pick)?.classList.add("near"));
    pick.addEventListener("pointerleave", () => pointOf(pick)?.classList.remove("near"));
  }

  tool("search").addEventListener("input", show);
  for (const filter of filters) filter.addEventListener("change", show);
  tool("sort").addEventListener("change", sort);
  tool("turn").addEventListener("click", () => {
    falling = !falling;
    tool("turn").textContent = falling ? "↓ falling" : "↑ rising";
    sort();
  });
  tool("outlines")?.addEventListener("change", (event) => list.classList.toggle("bare", !event.target.checked));
  tool("size").addEventListener("input", (event) => list.style.setProperty("--side", `${event.target.value}rem`));
  document.querySelector(".tools").hidden = false;
  show();
})();
