// Goes on with the page as it was sent: what happens comes once in a second. Whatever is told becomes text, never markup.
"use strict";

const at = (id) => document.getElementById(id);
const POINTS = 300;
const WAITS_AFTER = 3;

function bytes(count) {
    const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if (count < 1024) return `${Math.floor(count)} B`;
    let unit = -1;
    while (count >= 1024 && unit < units.length - 1) {
        count /= 1024;
        unit += 1;
    }
    return `${count.toFixed(2)} ${units[unit]}`;
}

const rate = (count) => `${bytes(count)}/s`;

function milliseconds(seconds) {
    const millis = seconds * 1e3;
    return `${millis.toFixed(millis < 10 ? 1 : 0)} ms`;
}

function span(seconds) {
    const whole = Math.floor(seconds);
    if (seconds > 0 && seconds < 1) return milliseconds(seconds);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

function again(count, packets) {
    return count === 0 ? "0" : `${count} (${(100 * count / Math.max(1, packets)).toFixed(1)} %)`;
}

// A number, or none, which a narrow page leaves out.
function tell(cell, value, shown) {
    const is = value !== undefined;
    say(cell, is ? shown(value) : "–");
    cell.classList.toggle("nil", !is);
}

function say(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

function make(name, kind, text) {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    if (text !== undefined) element.textContent = text;
    return element;
}

const WAYS = { read: ["↓", "download"], write: ["↑", "upload"], list: ["≡", "listing"] };

function cell(row, label, kind) {
    const made = make("td", kind);
    made.dataset.label = label;
    row.append(made);
    return made;
}

function rowOf(told) {
    const row = make("tr");
    row.dataset.id = told.id;
    const [sign, words] = WAYS[told.operation] ?? ["?", "unknown"];
    const file = cell(row, "File", "file");
    const way = make("span", "way", sign);
    way.title = words;
    file.append(way, " ", make("span", "name", told.file));
    if (told.served !== undefined) file.append(" ", make("span", "served", `served as ${told.served}`));
    cell(row, "Client").textContent = told.peer;
    row.sieve = `${told.file}\n${told.served ?? ""}\n${told.peer}\n${told.how ?? ""}\n${told.why ?? ""}`.toLowerCase();
    row.kinds = [told.operation, told.grade];
    return row;
}

function runningRow(told) {
    const row = rowOf(told);
    const progress = cell(row, "Progress", "progress");
    row.parts = { amount: make("span", "amount") };
    if (told.size > 0) {
        row.parts.bar = make("progress");
        row.parts.bar.max = 100;
        progress.append(row.parts.bar, " ");
    }
    progress.append(row.parts.amount);
    for (const [part, label] of [["rate", "Rate"], ["trip", "Round trip"], ["again", "Sent again"], ["left", "Time left"]]) {
        row.parts[part] = cell(row, label, "number");
    }
    return row;
}

function updateRunning(row, told) {
    const parts = row.parts;
    if (parts.bar) {
        const percent = Math.min(100, 100 * told.bytes / told.size);
        parts.bar.value = percent;
        parts.bar.setAttribute("aria-label", `${Math.round(percent)} percent`);
    }
    say(parts.amount, told.size > 0 ? `${bytes(told.bytes)} of ${bytes(told.size)}` : bytes(told.bytes));
    say(parts.rate, rate(told.rate));
    tell(parts.trip, told.round_trip, milliseconds);
    say(parts.again, again(told.retransmitted, told.packets));
    tell(parts.left, told.left, span);
    const waits = told.still > WAITS_AFTER;
    row.classList.toggle("waits", waits);
    row.kinds = [told.operation, waits ? "bad" : ""];
}

function overRow(told) {
    const row = rowOf(told);
    row.classList.add(told.grade);
    const how = cell(row, "Outcome", "how");
    how.append(make("b", "", told.how));
    if (told.why !== "complete") how.append(" ", make("span", "why", told.why));
    const progress = told.progress;
    tell(cell(row, "Size", "number"), progress?.bytes, bytes);
    tell(cell(row, "Rate", "number"), progress?.rate, rate);
    tell(cell(row, "Round trip", "number"), progress?.round_trip, milliseconds);
    tell(cell(row, "Sent again", "number"), progress?.retransmitted, (count) => again(count, progress.packets));
    row.parts = { ago: cell(row, "Ago", "number") };
    return row;
}

const updateOver = (row, told) => say(row.parts.ago, span(told.ago));

// Keeps the rows that are there, so that nothing jumps under a pointer or a selection.
function fill(body, all, create, update) {
    const known = new Map();
    for (const row of [...body.children]) {
        if (row.parts) known.set(row.dataset.id, row);
        else row.remove();
    }
    let place = body.firstElementChild;
    for (const told of all) {
        const id = String(told.id);
        const row = known.get(id) ?? create(told);
        known.delete(id);
        update(row, told);
        if (row === place) place = place.nextElementSibling;
        else body.insertBefore(row, place);
    }
    for (const row of known.values()) row.remove();
}

function draw(history) {
    const highest = Math.max(1, ...history.flat());
    const first = POINTS - history.length;
    ["sent", "received"].forEach((kind, which) => {
        const points = history.map((point, n) => `${first + n},${(100 - 96 * point[which] / highest).toFixed(1)}`);
        document.querySelector(`polyline.${kind}`).setAttribute("points", points.join(" "));
    });
    say(at("plot-top"), highest > 1 ? `up to ${rate(highest)}` : "");
}

function sift() {
    const words = at("words").value.trim().toLowerCase().split(/\s+/);
    const kind = at("kind").value;
    for (const body of ["running-rows", "recent-rows"]) {
        for (const row of at(body).children) {
            if (row.parts === undefined) continue;
            const fits = words.every((word) => row.sieve.includes(word));
            row.hidden = !(fits && (kind === "" || row.kinds.includes(kind)));
        }
    }
    for (const row of at("names")?.children ?? []) {
        const name = row.firstElementChild.textContent.toLowerCase();
        row.hidden = !words.every((word) => name.includes(word));
    }
}

let newest;

// For those who hear the page: what ended in trouble, and how many are under way where that changed.
function speak(status) {
    const fresh = status.recent.filter((over) => newest !== undefined && over.id > newest && over.grade !== "note");
    newest = status.recent[0]?.id ?? 0;
    if (fresh.length === 0) return;
    const told = fresh.slice(0, 3).map((over) => `${over.file} ${over.how}`);
    if (fresh.length > 3) told.push(`and ${fresh.length - 3} more`);
    say(at("spoken"), `${told.join(", ")}. ${status.now.transfers} under way.`);
}

function show(status) {
    const { now, totals } = status;
    const shown = {
        "up": span(status.up),
        "t-running": String(now.transfers),
        "t-sending": rate(now.sending),
        "t-receiving": rate(now.receiving),
        "t-complete": String(totals.complete),
        "t-failed": String(totals.failed),
        "t-turned-away": String(totals.refused + totals.dropped),
        "t-sent": bytes(totals.sent),
        "t-received": bytes(totals.received),
        "t-again": again(totals.retransmitted, totals.packets),
        "t-lag": milliseconds(now.lag),
    };
    for (const [id, text] of Object.entries(shown)) say(at(id), text);
    fill(at("running-rows"), status.running, runningRow, updateRunning);
    fill(at("recent-rows"), status.recent, overRow, updateOver);
    at("running-none").hidden = status.running.length > 0;
    at("recent-none").hidden = status.recent.length > 0;
    say(at("running-more"), status.more_running > 0 ? `and ${status.more_running} more` : "");
    draw(status.history);
    speak(status);
    sift();
}

function live(text, kind) {
    say(at("live"), text);
    at("live").className = `live ${kind}`;
}

at("sieve").hidden = false;
at("sieve").addEventListener("submit", (event) => event.preventDefault());
at("words").addEventListener("input", sift);
at("kind").addEventListener("change", sift);
document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
        event.preventDefault();
        at("words").focus();
    }
});

function follow() {
    const events = new EventSource("/events");
    events.onopen = () => live("live", "on");
    events.onmessage = (event) => {
        live("live", "on");
        show(JSON.parse(event.data));
    };
    events.onerror = () => {
        live("not connected", "off");
        // A browser gives up on an answer that is no stream.
        if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
    };
}

follow();
