"use strict";
(() => {
  // The page is complete without this script: it adds reading by grain, and finding and sorting among the mistakes.
  const make = (name, kind, ...children) => {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    element.append(...children);
    return element;
  };

  const list = document.querySelector(".mistakes");
  const filters = document.getElementById("filters");
  if (list && filters) {
    const rows = [...list.children];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const orders = {
      surest: (a, b) => b.dataset.confidence - a.dataset.confidence,
      unsure: (a, b) => a.dataset.confidence - b.dataset.confidence,
      place: (a, b) => a.dataset.i - b.dataset.i,
    };
    const more = document.getElementById("more");
    let most = 20;
    const filter = () => {
      const wanted = Object.fromEntries(new FormData(filters));
      const words = (wanted.words || "").toLowerCase().split(/\s+/).filter(Boolean);
      const from = Number(wanted.from || 0) - 0.0005;
      const to = Number(wanted.to || 1) + 0.0005;
      let found = 0;
      if (orders[wanted.order]) list.append(...rows.sort(orders[wanted.order]));
      for (const row of rows) {
        const { truth, said, confidence } = row.dataset;
        const fits = (!wanted.truth || wanted.truth === truth) && (!wanted.said || wanted.said === said)
          && confidence >= from && confidence <= to && words.every((word) => texts.get(row).includes(word));
        found += fits;
        row.hidden = !fits || found > most;
      }
      filters.querySelector("output").textContent = `${found} of ${rows.length}`;
      more.hidden = found <= most;
      more.textContent = `Show the other ${found - most}`;
    };
    filters.hidden = false;
    filters.addEventListener("input", filter);
    more.addEventListener("click", () => { most = Infinity; filter(); });
    addEventListener("beforeprint", () => { most = Infinity; filter(); });
    filters.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  const data = document.getElementById("examples");
  const slip = document.getElementById("slip");
  if (!data || !slip) return;
  document.documentElement.classList.add("js");
  const examples = JSON.parse(data.textContent);
  const charts = [...document.querySelectorAll("svg.grains")];
  const grains = new Map(charts.map((chart) => [chart, [...chart.querySelectorAll(".grain")].map((grain) => {
    const box = grain.getBBox();
    return { i: Number(grain.dataset.i), x: box.x + box.width / 2, y: box.y + box.height / 2 };
  })]));
  // To begin with, the surest mistake lies on the slip.
  const surest = (best, e) => (!e.is_right && (best === null || e.confidence > examples[best].confidence) ? e.index : best);
  let kept = examples.reduce(surest, null);

  const scoreRow = ([label, after, before, share]) => {
    const track = make("meter", "");
    track.value = share;
    track.setAttribute("aria-label", label);
    const row = make("tr", "", make("th", "", make("span", "label", label)), make("td", "", track), make("td", "", after));
    if (before !== "–") row.append(make("td", "quiet", `${before} before`));
    return row;
  };

  const show = (i) => {
    for (const chart of charts) {
      const at = grains.get(chart).find((grain) => grain.i === i);
      const ring = chart.querySelector(".ring");
      ring.setAttribute("visibility", at ? "visible" : "hidden");
      if (!at) continue;
      ring.setAttribute("cx", at.x);
      ring.setAttribute("cy", at.y);
    }
    const e = examples[i];
    if (!e) return;
    const text = make("blockquote", "", e.text);
    text.dir = "auto";
    const verdict = make("p", "said", e.is_right ? "✓ right: " : "✗ wrong: ", make("span", e.is_right ? "label" : "label not", e.said));
    if (!e.is_right) verdict.append(" truth ", make("span", "label", e.target));
    const meta = make("p", "meta");
    for (const [name, said, ok] of e.baselines) {
      meta.append(make("span", ok ? "ok" : "not", `${ok ? "✓" : "✗"} ${name}${ok || e.scores.length < 3 ? "" : `: ${said}`}`), " ");
    }
    if (e.place) meta.append(make("span", "", e.place), " ");
    if (e.group) meta.append(make("span", "", `group ${e.group}`), " ");
    if (e.label_mass !== "–") meta.append(make("span", "", `label mass ${e.label_mass}`), " ");
    meta.append(make("span", "", e.id));
    const scores = make("table", "scores", make("tbody", "", ...e.scores.map(scoreRow)));
    slip.replaceChildren(verdict, text);
    if (e.cut) slip.append(make("p", "quiet", `${e.cut} more characters in predictions.jsonl`));
    slip.append(scores);
    if (e.others) slip.append(make("p", "quiet", `and ${e.others} with less`));
    slip.append(meta);
  };

  const nearest = (chart, event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    let best = null;
    let least = 18 ** 2;
    for (const grain of grains.get(chart)) {
      const far = (grain.x - point.x) ** 2 + (grain.y - point.y) ** 2;
      if (far < least) [best, least] = [grain.i, far];
    }
    return best;
  };

  const keep = (i) => {
    kept = i;
    if (i === null) return;
    history.replaceState(null, "", `#e-${encodeURIComponent(examples[i].id)}`);
    show(i);
  };

  for (const chart of charts) {
    const order = grains.get(chart).map((grain) => grain.i).sort((a, b) => examples[a].confidence - examples[b].confidence);
    chart.setAttribute("tabindex", "0");
    chart.setAttribute("role", "application");
    chart.setAttribute("aria-roledescription", "examples by confidence");
    chart.addEventListener("pointermove", (event) => {
      const i = nearest(chart, event);
      chart.classList.toggle("over", i !== null);
      if (event.pointerType === "mouse") show(i ?? kept);
    });
    chart.addEventListener("pointerleave", () => show(kept));
    chart.addEventListener("click", (event) => {
      document.documentElement.classList.add("picked");
      keep(nearest(chart, event) ?? kept);
    });
    chart.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, Home: -Infinity, End: Infinity }[event.key];
      if (!move || !order.length) return;
      event.preventDefault();
      const now = order.indexOf(kept);
      const next = now < 0 ? order.length - 1 : Math.min(order.length - 1, Math.max(0, now + move));
      keep(order[next]);
    });
  }

  // A link to one example: #e-<id>.
  const follow = () => {
    if (!location.hash.startsWith("#e-")) return;
    let id = location.hash.slice(3);
    try { id = decodeURIComponent(id); } catch { /* a stray % is part of the id */ }
    const i = examples.findIndex((example) => example.id === id);
    if (i < 0) return;
    kept = i;
    show(i);
    slip.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", follow);
  show(kept);
  follow();
})();
