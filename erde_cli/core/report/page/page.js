"use strict";
(() => {
  const byId = (name) => document.getElementById(name);
  const root = document.documentElement;

  // Light or dark, as the system has it, until the button says otherwise.
  const theme = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    nameTheme();
  });
  system.addEventListener("change", nameTheme);
  nameTheme();

  // Figures of points: the paths of a chart name rows of its table.
  const tip = byId("tip");
  let byKeyboard = false;
  const hideTip = () => {
    tip.hidden = true;
    byKeyboard = false;
    for (const ring of document.querySelectorAll(".focus-ring")) ring.remove();
  };
  const describe = (series, place) => {
    const table = byId(series.ownerSVGElement.dataset.table);
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const rows = [...table.tBodies[0].rows];
    const column = series.dataset.column;
    if (column === undefined) {
      const cells = [...rows[+series.dataset.row + place].cells].map((cell) => cell.textContent);
      return [cells[0], ...heads.map((head, i) => `${head}: ${cells[i]}`)
        .filter((_, i) => i > 0 && cells[i] !== "-")];
    }
    const filled = rows.filter((row) => row.cells[column].textContent !== "-");
    const cells = filled[place].cells;
    return [heads[column], cells[column].textContent, `${heads[0]} ${cells[0].textContent}`];
  };
  const pointsOf = (series) =>
    [...series.getAttribute("d").matchAll(/[ML](-?[\d.]+),(-?[\d.]+)/g)].map((m) => [+m[1], +m[2]]);
  const showTip = (svg, series, place) => {
    hideTip();
    const [name, ...rest] = describe(series, place);
    const strong = document.createElement("b");
    strong.textContent = name;
    tip.replaceChildren(strong, ...rest.map((text) => {
      const line = document.createElement("span");
      line.textContent = text;
      return line;
    }));
    tip.hidden = false;
    const [x, y] = pointsOf(series)[place];
    const ring = document.createElementNS(svg.namespaceURI, "circle");
    for (const [key, value] of [["cx", x], ["cy", y], ["r", 7]]) ring.setAttribute(key, value);
    ring.setAttribute("class", "focus-ring");
    svg.append(ring);
    placeTip();
  };
  const placeTip = () => {
    const ring = document.querySelector(".focus-ring");
    if (!ring) return;
    const box = ring.getBoundingClientRect();
    const at = [box.left + box.width / 2, box.top + box.height / 2];
    const left = Math.min(Math.max(at[0] - tip.offsetWidth / 2, 8),
      root.clientWidth - tip.offsetWidth - 8);
    const above = at[1] - tip.offsetHeight - 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : at[1] + 14}px`;
  };
  // What comes into view by the keyboard scrolls the page, and a scroll sends events of a pointer
  // that has not moved. They leave the keyboard's tip as it is.
  let moved = false;
  let pointer = null;
  addEventListener("pointermove", (event) => {
    const now = [event.clientX, event.clientY];
    moved = pointer !== null && now.some((at, i) => at !== pointer[i]);
    pointer = now;
  }, { capture: true });
  for (const svg of document.querySelectorAll("svg[data-table]")) {
    const all = [...svg.querySelectorAll("[data-row]")];
    let current = [0, 0];
    const show = () => showTip(svg, all[current[0]], current[1]);
    svg.addEventListener("pointermove", (event) => {
      if (byKeyboard && !moved) return undefined;
      const box = svg.getBoundingClientRect();
      const scale = box.width / svg.viewBox.baseVal.width;
      const [x, y] = [(event.clientX - box.left) / scale, (event.clientY - box.top) / scale];
      let best = 30;
      let found = null;
      all.forEach((series, i) => pointsOf(series).forEach(([px, py], k) => {
        // A mark wins over a curve that runs through it.
        const far = Math.hypot(px - x, py - y) - (series.classList.contains("line") ? 0 : 4);
        if (far < best) [best, found] = [far, [i, k]];
      }));
      if (found === null) return hideTip();
      current = found;
      return show();
    });
    const showByKeyboard = () => {
      show();
      byKeyboard = true;
    };
    svg.addEventListener("pointerleave", () => { if (!byKeyboard) hideTip(); });
    svg.addEventListener("blur", hideTip);
    svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) showByKeyboard(); });
    svg.addEventListener("keydown", (event) => {
      const [series, place] = current;
      const count = pointsOf(all[series]).length;
      const near = (next) => {
        const [x] = pointsOf(all[series])[place];
        const xs = pointsOf(all[next]).map((point) => Math.abs(point[0] - x));
        return [next, xs.indexOf(Math.min(...xs))];
      };
      const moves = {
        ArrowRight: () => [series, Math.min(place + 1, count - 1)],
        ArrowLeft: () => [series, Math.max(place - 1, 0)],
        ArrowDown: () => near((series + 1) % all.length),
        ArrowUp: () => near((series + all.length - 1) % all.length),
        Home: () => [series, 0],
        End: () => [series, count - 1],
      };
      if (event.key === "Escape") return hideTip();
      if (!Object.hasOwn(moves, event.key)) return undefined;
      event.preventDefault();
      current = moves[event.key]();
      return showByKeyboard();
    });
  }
  addEventListener("scroll", placeTip, { passive: true });

  // Heads of tables that sort.
  const numberIn = (text) => parseFloat(text.replace(/,/g, ""));
  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const body = head.closest("table").tBodies[0];
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[head.cellIndex].textContent;
      const order = (a, b) => {
        const [x, y] = [numberIn(key(a)), numberIn(key(b))];
        return Number.isNaN(x - y) ? key(a).localeCompare(key(b)) : x - y;
      };
      body.append(...[...body.rows].sort((a, b) => (down ? order(b, a) : order(a, b))));
    });
  }

  const stored = byId("explorer-data");
  if (!stored) return;

  // Sliders. The same rule as erde's: leave at the first exit with score < θ.
  const data = JSON.parse(stored.textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const scores = new Float32Array(bytes(data.scores).buffer);
  const bits = bytes(data.correct);
  const exits = data.costs.length;
  const last = exits - 1;
  const number = (word) => ({ never: 0, always: Infinity })[word] ?? Number(word);
  const word = (theta) => (theta === 0 ? "never" : theta === Infinity ? "always" : String(theta));
  const calibrated = (data.thresholds ?? Array(last).fill("never")).map(number);
  let thetas = [...calibrated];

  const figures = () => {
    const counts = Array(exits).fill(0);
    let right = 0;
    for (let image = 0; image < data.images; image += 1) {
      const row = image * exits;
      let exit = 0;
      while (exit < last && !(scores[row + exit] < thetas[exit])) exit += 1;
      counts[exit] += 1;
      right += (bits[(row + exit) >> 3] >> ((row + exit) & 7)) & 1;
    }
    const rates = counts.map((count) => count / data.images);
    const expected = (costs) => rates.reduce((sum, rate, i) => sum + rate * costs[i], 0);
    return { accuracy: right / data.images, macs: expected(data.costs), rates,
      time: data.milliseconds && expected(data.milliseconds) };
  };

  // Rounded as Python does: a tie goes to the even digit.
  const fixed = (value, digits) => {
    const exact = value.toFixed(digits + 40);
    const cut = exact.slice(0, -40).replace(/\.$/, "");
    const tie = /^50*$/.test(exact.slice(-40));
    return tie && Number(cut.at(-1)) % 2 === 0 ? cut : value.toFixed(digits);
  };
  const percent = (share, digits) => `${fixed(Math.max(0, 100 * share), digits)} %`;
  const macs = (count) => {
    const unit = [["G", 1e9], ["M", 1e6], ["k", 1e3]].find(([, scale]) => count >= scale);
    return unit ? `${fixed(count / unit[1], 2)} ${unit[0]}` : fixed(count, 0);
  };
  const milliseconds = (value) => {
    const [whole, part] = fixed(value, value < 0.1 ? 4 : value < 1 ? 3 : value < 10 ? 2 : 1).split(".");
    return `${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${part}`;
  };
  const shown = (theta) => {
    if (theta === 0 || theta === Infinity) return word(theta);
    return theta >= 0.001 ? fixed(theta, 4) : theta.toExponential(2);
  };

  const steps = 1000;
  const thetaAt = (position) => {
    if (position <= 0) return 0;
    if (position >= steps) return Infinity;
    const share = position / steps;
    return Number((data.limit * share * share).toPrecision(4));
  };
  const positionOf = (theta) => {
    if (theta <= 0) return 0;
    if (theta >= data.limit) return steps;
    return Math.min(Math.max(Math.round(steps * Math.sqrt(theta / data.limit)), 1), steps - 1);
  };

  const chart = document.querySelector('svg[data-table="explorer-table"]');
  const pixel = (axis, value, log) => {
    const [low, high, start, end] = axis.split(" ").map(Number);
    const f = log ? Math.log : (x) => x;
    const share = (f(Math.min(Math.max(value, low), high)) - f(low)) / (f(high) - f(low));
    return start + share * (end - start);
  };
  const setSlider = (name, theta, text) => {
    const slider = byId(`theta-${name}`);
    byId(`shown-${name}`).textContent = text;
    slider.setAttribute("aria-valuetext", text);
    return slider;
  };
  const drawFigures = (now) => {
    byId("now-accuracy").textContent = percent(now.accuracy, 2);
    byId("now-macs").textContent = macs(now.macs);
    byId("now-saved").textContent = percent(1 - now.macs / data.costs[last], 1);
    if (data.milliseconds) byId("now-time").textContent = milliseconds(now.time);
    let left = 0;
    now.rates.forEach((rate, exit) => {
      byId(`rate-${exit}`).textContent = percent(rate, 1);
      const bar = byId("rate-bar").children[exit];
      bar.setAttribute("x", 1000 * left);
      bar.setAttribute("width", 1000 * rate);
      left += rate;
    });
    const x = pixel(chart.dataset.x, now.macs, chart.dataset.log);
    const y = pixel(chart.dataset.y, 100 * now.accuracy, false);
    byId("now-mark").setAttribute("transform", `translate(${x} ${y})`);
  };
  const draw = (moved) => {
    thetas.forEach((theta, exit) => setSlider(exit, theta, shown(theta)));
    const same = thetas.every((theta) => theta === thetas[0]);
    setSlider("all", thetas[0], same ? shown(thetas[0]) : "differ");
    byId("state").textContent = moved ? data.moved : data.state;
    byId("state").classList.toggle("moved", moved);
    byId("command").textContent = data.command.replace("{thresholds}", () => thetas.map(word).join(","));
    byId("copied").textContent = "";
    drawFigures(figures());
  };
  const place = (name, theta) => { byId(`theta-${name}`).value = positionOf(theta); };
  const placeAll = () => {
    thetas.forEach((theta, exit) => place(exit, theta));
    place("all", thetas[0]);
  };
  byId("theta-all").addEventListener("input", (event) => {
    thetas.fill(thetaAt(+event.target.value));
    thetas.forEach((theta, exit) => place(exit, theta));
    draw(true);
  });
  thetas.forEach((_, exit) => byId(`theta-${exit}`).addEventListener("input", (event) => {
    thetas[exit] = thetaAt(+event.target.value);
    draw(true);
  }));
  byId("reset").addEventListener("click", () => {
    thetas = [...calibrated];
    placeAll();
    draw(false);
  });
  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("command").textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(byId("command"));
      byId("copied").textContent = "Selected: copy it with Ctrl-C.";
    }
  });
  placeAll(); // a browser may keep positions over a reload
  draw(false);
})();
