// The explorer: looks up, for each question, the way whose interval of thresholds holds τ. See explorer_data.py.
"use strict";
(async () => {
  const [RUN, LOW, HIGH, PATH, ANSWER, CORRECT, DRAFT_TOKENS, TARGET_TOKENS] = [0, 1, 2, 3, 4, 5, 6, 7];
  const element = (id) => document.getElementById(id);
  if (!window.DecompressionStream) {
    element("numbers").textContent = "The explorer needs a newer browser: Chrome 80, Firefox 113, Safari 16.4 or later. " +
      "All else on this page is complete.";
    return;
  }
  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(element(id).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  const data = JSON.parse(await unpacked("data"));
  const charts = data.charts;
  line(document.head, "script", await unpacked("bundle")); // Vega, which runs as soon as it stands there
  const views = {};
  const state = { panel: "", run: "", tau: NaN, against: "", outcome: "all", source: "", question: "" };

  const policyOf = (run) => data.policies[run.split(" ")[0]];
  const labelOf = (run) => policyOf(run).label + (run.includes(" ") ? `, training ${run.split(" ")[1]}` : "");
  const percent = (share) => (100 * share).toFixed(1) + " %";
  const shown = (number) => (number === null || number === undefined ? "–" : number.toFixed(3));
  const panel = () => data.panels[state.panel];
  const holds = (way, tau) => (way[LOW] === null || way[LOW] <= tau) && (way[HIGH] === null || tau < way[HIGH]);

  function wayOf(question, run, tau) {
    const number = panel().runs.indexOf(run);
    return question.ways.find((way) => way[RUN] === number && (!policyOf(run).threshold || holds(way, tau)));
  }

  const accepted = (path) => (path ? path.split("d").length - 1 : 0) / Math.max(path.length, 1);

  // Means over graded questions, as in accuracy_acceptance.csv: acceptance and accuracy; tokens of each model.
  function numbersAt(run, tau) {
    const ways = panel().questions.map((q) => wayOf(q, run, tau)).filter((way) => way && way[CORRECT] !== null);
    const mean = (value) => ways.reduce((sum, way) => sum + value(way), 0) / Math.max(ways.length, 1);
    return {
      count: ways.length,
      acceptance: mean((way) => accepted(way[PATH])),
      accuracy: mean((way) => (way[CORRECT] ? 1 : 0)),
      draftTokens: mean((way) => way[DRAFT_TOKENS]),
      targetTokens: mean((way) => way[TARGET_TOKENS]),
    };
  }

  // Thresholds at which something changes, for this run; the slider goes from below the first to the last.
  function rangeOf(run) {
    const number = panel().runs.indexOf(run);
    const bounds = panel().questions.flatMap((q) => q.ways.filter((way) => way[RUN] === number)
      .flatMap((way) => [way[LOW], way[HIGH]])).filter((bound) => bound !== null);
    return bounds.length ? [bounds.reduce((a, b) => Math.min(a, b)), bounds.reduce((a, b) => Math.max(a, b))] : [0, 1];
  }

  // The threshold at which `run` accepts nearest to `acceptance`; acceptance is monotone in it.
  function matched(run, acceptance) {
    if (!policyOf(run).threshold) return 0;
    let [low, high] = rangeOf(run);
    low -= 1e-6;
    for (let round = 0; round < 24; round++) {
      const middle = (low + high) / 2;
      const more = numbersAt(run, middle).acceptance < acceptance;
      if (more !== policyOf(run).acceptsAbove) low = middle; else high = middle;
    }
    return high;
  }

  let matches = {};
  function accepts(run, score) {
    if (score === undefined) return null;
    const tau = run === state.run ? state.tau : matches[run];
    return policyOf(run).acceptsAbove ? score > tau : score <= tau;
  }

  function fill(select, options, chosen) {
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
    if (!options.some(([value]) => value === chosen) && options.length) select.value = options[0][0];
    return select.value;
  }

  async function draw(kind, key) {
    const specification = (charts[kind] || {})[key];
    if (!specification) { element(`chart-${kind}`).replaceChildren(); delete views[kind]; return; }
    views[kind] = (await vegaEmbed(`#chart-${kind}`, specification, { actions: false, renderer: "svg" })).view;
  }

  async function openPanel() {
    state.run = fill(element("run"), panel().runs.map((run) => [run, labelOf(run)]), state.run || "router 0");
    state.against = fill(element("against"), panel().runs.map((run) => [run, labelOf(run)]), state.against || "rsd");
    const sources = [...new Set(panel().questions.map((q) => q.source))].sort();
    state.source = fill(element("source"), [["", "all"], ...sources.map((s) => [s, s])], state.source);
    await Promise.all(["acceptance", "latency"].map((kind) => draw(kind, state.panel)));
    openRun();
  }

  function openRun() {
    const [low, high] = rangeOf(state.run);
    const slider = element("tau");
    [slider.min, slider.max] = [low, high];
    slider.disabled = element("tau-number").disabled = !policyOf(state.run).threshold;
    if (Number.isNaN(state.tau)) state.tau = matched(state.run, 0.8);
    slider.value = state.tau;
    moved();
  }

  function moved() {
    element("tau-number").value = Number(state.tau.toPrecision(6));
    const numbers = numbersAt(state.run, state.tau);
    matches = {};
    for (const run of panel().runs) matches[run] = run === state.run ? state.tau : matched(run, numbers.acceptance);
    const other = numbersAt(state.against, matches[state.against]);
    element("numbers").innerHTML =
      `<span>acceptance <b id="now-acceptance">${percent(numbers.acceptance)}</b></span>` +
      `<span>accuracy <b id="now-accuracy">${percent(numbers.accuracy)}</b></span>` +
      `<span>target tokens <b>${numbers.targetTokens.toFixed(1)}</b> a question</span>` +
      `<span>draft tokens <b>${numbers.draftTokens.toFixed(1)}</b></span>` +
      `<span>${labelOf(state.against)} at ${percent(other.acceptance)} accepted: accuracy <b>${percent(other.accuracy)}</b></span>`;
    const point = (run, at) => ({ policy: policyOf(run).label, x: 100 * at.acceptance, accuracy: 100 * at.accuracy });
    if (views.latency) views.latency.data("now", [state.run, state.against].flatMap(modelled)).run();
    if (views.acceptance) views.acceptance.data("now", [point(state.run, numbers), point(state.against, other)]).run();
    list();
  }

  // The modelled point of a run nearest to its threshold, as a list of one; none where the run is not timed.
  function modelled(run) {
    const { layer, datasets } = charts.latency[state.panel];
    const rows = (layer[0].data.values || datasets[layer[0].data.name]).filter((row) => row.run === run && row.threshold !== null);
    const away = (row) => Math.abs(row.threshold - (run === state.run ? state.tau : matches[run]));
    return rows.length ? [rows.reduce((best, row) => (away(row) < away(best) ? row : best))] : [];
  }

  function passes(question) {
    const [own, other] = [wayOf(question, state.run, state.tau), wayOf(question, state.against, matches[state.against])];
    if (!own || (state.source && question.source !== state.source)) return false;
    if (state.outcome === "all") return true;
    if (state.outcome === "escalated") return own[PATH].includes("t");
    if (!other || own[CORRECT] === null || other[CORRECT] === null) return false;
    return { gained: own[CORRECT] && !other[CORRECT], lost: !own[CORRECT] && other[CORRECT],
      "both-wrong": !own[CORRECT] && !other[CORRECT] }[state.outcome];
  }

  const verdict = (way) => (way[CORRECT] === null ? "ungraded" : way[CORRECT] ? "right" : "wrong");

  function list() {
    const questions = panel().questions.filter(passes);
    element("count").textContent = `${questions.length} of ${panel().questions.length} questions`;
    if (!questions.some((q) => q.id === state.question)) state.question = questions.length ? questions[0].id : "";
    element("list").replaceChildren(...questions.map((question) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const way = wayOf(question, state.run, state.tau);
      button.type = "button";
      button.textContent = `${question.id} · ${verdict(way)} · ${way[PATH].replaceAll("d", "▫").replaceAll("t", "▪")}`;
      button.setAttribute("aria-current", question.id === state.question);
      button.onclick = () => { state.question = question.id; list(); };
      item.append(button);
      return item;
    }));
    question(questions.find((q) => q.id === state.question));
    history.replaceState(null, "", "#" + new URLSearchParams(Object.entries(state).map(([k, v]) => [k, String(v)])));
  }

  function line(parent, tag, text, kind) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    parent.append(made);
    return made;
  }

  function question(chosen) {
    const article = element("question");
    article.replaceChildren();
    if (!chosen) return;
    const way = wayOf(chosen, state.run, state.tau);
    line(article, "h3", chosen.id);
    line(article, "p", chosen.problem);
    for (let index = 0; index < way[PATH].length; index++) {
      const author = way[PATH][index], node = chosen.nodes[way[PATH].slice(0, index)];
      const texts = { d: chosen.texts[node[0]], t: chosen.texts[node[1]] };
      const step = line(article, "div", "", author === "t" ? "step target" : "step");
      line(step, "span", `${index + 1}. ${author === "t" ? "target" : "draft"}`, "who");
      line(step, "p", texts[author].trim());
      const another = author === "t" ? texts.d : texts.t;
      if (another !== undefined && another !== texts[author])
        line(step, "p", `${author === "t" ? "draft" : "target"} wrote: ${another.trim()}`, "other");
      const gain = node[2] !== null && node[3] !== null ? node[3] - node[2] : null;
      line(step, "div", `PRM: draft ${shown(node[2])}, target ${shown(node[3])}, advantage Δ ${shown(gain)}`, "facts");
      const decisions = line(step, "ul", "", "decisions");
      panel().runs.forEach((run, number) => {
        const score = node[4][number];
        if (score === undefined || !policyOf(run).threshold) return;
        const accepted = accepts(run, score);
        line(decisions, "li", `${labelOf(run)} ${shown(score)}: ${accepted ? "accept" : "escalate"}`, accepted ? "" : "escalates");
      });
    }
    line(article, "p", `Answer: ${way[ANSWER] ?? "none"} (${verdict(way)}); gold: ${chosen.gold.join(" or ")}`, verdict(way));
  }

  const panels = Object.keys(data.panels);
  async function openAddress() {
    const address = new URLSearchParams(location.hash.slice(1));
    if (address.has("panel")) for (const key of Object.keys(state)) if (address.has(key)) state[key] = address.get(key);
    state.tau = parseFloat(state.tau);
    element("outcome").value = state.outcome;
    state.panel = fill(element("panel"), panels.map((name) => [name, name.replace(" ", ", ")]), state.panel);
    await openPanel();
  }

  element("panel").onchange = (event) => { Object.assign(state, { panel: event.target.value, tau: NaN, question: "" }); openPanel(); };
  element("run").onchange = (event) => { Object.assign(state, { run: event.target.value, tau: NaN }); openRun(); };
  element("tau").oninput = (event) => { state.tau = parseFloat(event.target.value); moved(); };
  element("tau-number").onchange = (event) => { state.tau = parseFloat(event.target.value); element("tau").value = state.tau; moved(); };
  for (const key of ["against", "outcome", "source"])
    element(key).onchange = (event) => { state[key] = event.target.value; moved(); };
  if (panels.length) await openAddress();
  else element("numbers").textContent = "No trajectories: run the study's sweep first.";
  window.onhashchange = async () => {
    if (!panels.length || !location.hash.startsWith("#panel=")) return;
    Object.assign(state, { outcome: "all", source: "" });
    await openAddress();
    element("explorer").scrollIntoView();
  };
  for (const place of document.querySelectorAll("[data-chart]"))
    await vegaEmbed(place, charts.router[place.dataset.chart], { actions: false, renderer: "svg" });
  document.body.dataset.ready = "true";
})();
