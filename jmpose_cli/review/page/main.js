// The page: what is selected, where in time it is, and what follows when either changes.
import { get } from "./api.js";
import { Clip } from "./clip.js";
import { commandOf, standing } from "./commands.js";
import { ask, element, fillHelp, fillPeople, fillSuspects, made, makeButtons } from "./panels.js";
import { Plot } from "./plot.js";
import { Stage } from "./stage.js";
import { Timeline } from "./timeline.js";

const AHEAD = 10;
const SOON = 3;
const POLL_MS = 3000;
const NOTE_MS = 6000;
const SLOW_MS = 300;
const THEMES = ["system", "dark", "light"];

class Cancelled extends Error {}

class Review {
  constructor(clips) {
    Object.assign(this, { clips, place: 0, track: null, joint: null, other: null, range: null, suspectPlace: -1 });
    this.atOnce = localStorage.getItem("jmpose-at-once") !== "no";
    this.stage = new Stage(element("picture"), {
      select: (track, joint) => this.select(track, joint),
      selectOther: (track) => this.selectOther(track),
      drop: (track, joint, x, y) => this.guarded(() => this.setJoint(track, joint, x, y)),
      place: (x, y) => this.guarded(() => this.setJoint(this.track, this.joint, x, y)),
      box: (corners) => this.guarded(() => this.boxed(corners)),
    });
    this.plot = new Plot(element("plot"), (place) => this.seek(place));
    this.timeline = new Timeline(element("lanes-box"), (place, track) => {
      if (track !== undefined) this.select(track, this.joint);
      this.seek(place);
    }, (track) => this.selectOther(track));
    this.buttons = makeButtons(this);
  }

  async open(number) {
    if (this.clip) this.stop();
    this.opening = number;
    element("clips").value = number;
    const saying = setTimeout(() => this.note(`Opening ${this.clips[number].name} … A very long clip takes a minute the first time.`, true), SLOW_MS);
    let clip;
    try {
      clip = await Clip.load(number);
    } catch (error) {
      if (this.clip && this.opening === number) element("clips").value = this.clip.number;
      throw error;
    } finally {
      clearTimeout(saying);
      if (this.opening === number) this.note(null);
    }
    if (this.opening !== number) return; // another one was chosen meanwhile
    Object.assign(this, { clip, place: 0, track: null, joint: null, other: null, range: null, suspectPlace: -1, looked: null });
    document.title = `${clip.name} – jmpose review`;
    for (const [name, follow] of [
      ["change", () => this.update()], ["suspects", () => this.updateSuspects()], ["failed", (event) => this.say(event.detail)],
    ]) clip.addEventListener(name, (event) => { if (this.clip === clip) follow(event); });
    element("frame").min = clip.numbers[0];
    element("frame").max = clip.numbers.at(-1);
    this.stage.zoom = 1;
    this.stage.panX = this.stage.panY = 0;
    this.seek(0);
    await clip.findSuspects();
    await this.showProgress();
  }

  // How far each clip is, in the list of clips.
  async showProgress() {
    if (this.clips.length < 2) return;
    const all = await get("/progress");
    all.forEach((progress, number) => {
      Object.assign(this.clips[number], { progress });
      const option = element("clips").options[number];
      const text = `${this.clips[number].name} · ${progressText(progress)}`;
      if (option.text !== text) option.text = text;
    });
  }

  number() { return this.clip.numbers[this.place]; }
  poses() { return this.clip.poses(this.place); }
  person() { return this.poses()?.people.find(({ id }) => id === this.track); }
  jointName() { return this.clip.joints[this.joint]; }

  // The frames of an action: the range that is marked, or the one that is shown.
  frames() {
    const [first, last] = this.range ?? [this.place, this.place];
    return [this.clip.numbers[first], this.clip.numbers[last] + 1];
  }

  rangeOrAll() { return this.range ? this.frames() : [null, null]; }
  whom() { return this.track == null ? {} : { track: this.track }; }
  suspectHere() { return this.clip.suspects[this.suspectPlace]; }
  has() {
    const [person, suspect] = [this.person(), this.suspectHere()];
    return { track: this.track != null, person: !!person, joint: !!person && this.joint != null, suspect: !!suspect, fix: !!suspect?.fix?.length };
  }

  seek(place) {
    this.place = Math.min(Math.max(place, 0), this.clip.numbers.length - 1);
    this.update();
  }

  update() {
    const { clip, place } = this;
    const isHere = () => clip === this.clip && place === this.place;
    const last = Math.min(place + AHEAD, clip.numbers.length - 1);
    clip.near = place;
    clip.poses(place);
    clip.keepOnly(place, last);
    clip.image(place).then(() => {
      if (!isHere()) return;
      this.showFrame();
      for (let ahead = place + 1; ahead <= last; ahead++) clip.image(ahead).catch(() => {});
      clip.poses(last);
    }, (error) => { if (isHere() && error.name !== "AbortError") this.say(error); });
    this.showFrame();
    this.timeline.show(clip, this);
    if (!this.timer) {
      this.plot.show(clip, this);
      fillPeople(this);
    }
    this.updateTexts();
  }

  showFrame() {
    const { clip } = this;
    const bitmap = clip.images.get(this.place)?.bitmap;
    this.stage.show({
      width: clip.width, height: clip.height, aspect: clip.pixel_aspect, joints: clip.joints, skeleton: clip.skeleton,
      people: this.poses()?.people ?? [], track: this.track, joint: this.joint, other: this.other,
      bitmap: bitmap ?? (this.timer ? this.stage.scene?.bitmap : null),
    });
  }

  updateTexts() {
    const { clip } = this;
    const seen = clip.reviewed.reduce((sum, [first, last]) => sum + clip.placeOf.get(last) - clip.placeOf.get(first) + 1, 0);
    const count = clip.numbers.length;
    element("progress").textContent =
      `${seen} of ${count} reviewed · ${suspectsLeft(clip)} · ${clip.steps} correction${clip.steps === 1 ? "" : "s"}`;
    if (document.activeElement !== element("frame")) element("frame").value = this.number();
    const poses = this.poses();
    const range = this.range ? ` · range ${this.frames()[0]} to ${this.frames()[1] - 1}` : "";
    element("where").textContent = `${poses ? `${poses.t.toFixed(3)} s` : ""}${poses?.reviewed ? " · reviewed" : ""}${range}`;
    element("seen").max = count;
    element("seen").value = seen;
    const has = this.has();
    for (const [command, button] of this.buttons) {
      if (command.pressed) button.setAttribute("aria-pressed", command.pressed(this));
      button.disabled = (command.needs && !has[command.needs])
        || (command.label === "Undo" && !clip.undo) || (command.label === "Redo" && !clip.redo)
        || (command.label === "Next clip" && this.clips.length < 2) || (command.label === "Next" && !clip.suspects.length);
      if (command.label === "Undo") button.title = clip.undo ? `Undo: ${clip.undo}` : "Nothing to undo";
      if (command.label === "Redo") button.title = clip.redo ? `Redo: ${clip.redo}` : "Nothing to redo";
      if (command.label === "Play") button.firstChild.data = this.timer ? "Stop" : "Play";
    }
    element("picture").setAttribute("aria-label", `Frame ${this.number()}, people: ${poses?.people.map(({ id }) => id).join(", ") || "none"}`);
  }

  // The next suspects are where one goes to most.
  wantSoon() {
    const { clip, suspectPlace } = this;
    clip.wantSoon(clip.suspects.slice(suspectPlace + 1, suspectPlace + 1 + SOON).map(({ at }) => clip.placeOf.get(at)));
  }

  updateSuspects() {
    // The one that was looked at, where it still is; else the next begins where it was.
    const place = this.clip.suspects.findIndex((one) => one.kind === this.looked?.kind && one.at === this.looked.at
      && one.tracks[0] === this.looked.tracks[0]);
    if (place >= 0) this.suspectPlace = place;
    else if (this.looked) Object.assign(this, { suspectPlace: this.suspectPlace - 1, looked: null });
    fillSuspects(this);
    this.wantSoon();
    this.timeline.draw();
    this.updateTexts();
  }

  select(track, joint) {
    Object.assign(this, { track, joint });
    if (this.other === track) this.other = null;
    this.update();
  }

  selectOther(track) {
    this.other = track === this.track || track === this.other ? null : track;
    this.update();
  }

  clear() {
    Object.assign(this, { track: null, joint: null, other: null, range: null });
    this.stopBoxing();
    this.say(null);
    this.update();
  }

  stepPerson(step) {
    const ids = (this.poses()?.people ?? []).map(({ id }) => id).sort((a, b) => a - b);
    if (ids.length) this.select(ids[(ids.indexOf(this.track) + step + ids.length + (this.track == null && step < 0)) % ids.length], null);
  }

  stepJoint(step) {
    const count = this.clip.joints.length;
    this.select(this.track, this.joint == null ? (step > 0 ? 0 : count - 1) : (this.joint + step + count) % count);
  }

  mark(side) {
    const other = this.range?.[1 - side] ?? this.place;
    const range = side ? [other, this.place] : [this.place, other];
    this.range = range[0] > range[1] ? [this.place, this.place] : range;
    this.update();
  }

  async suspect(step) {
    const { clip } = this;
    if (step > 0 && this.suspectPlace === clip.suspects.length - 1 && clip.suspects.length < clip.total) await clip.findMoreSuspects();
    const count = clip.suspects.length;
    if (count && clip === this.clip) this.goTo((Math.max(this.suspectPlace, step > 0 ? -1 : 0) + step + count) % count);
  }

  goTo(place) {
    const suspect = this.clip.suspects[place];
    if (!suspect) return;
    Object.assign(this, { suspectPlace: place, looked: suspect });
    const joint = this.clip.joints.indexOf(suspect.joints[0]);
    Object.assign(this, { track: suspect.tracks[0], joint: joint < 0 ? null : joint, other: suspect.tracks[1] ?? null });
    this.seek(this.clip.placeOf.get(suspect.at));
    this.wantSoon();
    fillSuspects(this);
  }

  // Where the suspect was, the next one is now; it is gone before the server has looked again.
  leaveSuspect() {
    this.clip.suspects.splice(this.suspectPlace, 1);
    this.clip.total--;
    this.looked = null;
    if (this.clip.suspects.length) this.goTo(Math.min(this.suspectPlace, this.clip.suspects.length - 1));
    else this.updateSuspects();
  }

  async fix() {
    const suspect = this.suspectHere();
    await this.clip.do(...suspect.fix);
    this.leaveSuspect();
    this.note(`Done: ${suspect.try} · z takes it back`);
  }

  async dismiss() {
    const { kind, tracks, at, frames } = this.suspectHere();
    await this.clip.do({ op: "dismiss", kind, tracks, frames: [Math.min(at, frames[0]), Math.max(at, frames[1]) + 1] });
    this.leaveSuspect();
  }

  async fixAll() {
    const { kind } = this.suspectHere();
    const { steps, undo } = await this.clip.act("fix", { kind });
    this.note(`Correction ${steps}: ${undo} · z takes all of it back`);
    await this.clip.findSuspects();
  }

  nextUnseen() {
    const { numbers, reviewed } = this.clip;
    const isSeen = (place) => reviewed.some(([first, last]) => first <= numbers[place] && numbers[place] <= last);
    for (let step = 1; step <= numbers.length; step++) {
      const place = (this.place + step) % numbers.length;
      if (!isSeen(place)) return this.seek(place);
    }
    return this.say("All frames are reviewed.");
  }

  play() {
    if (this.timer) return this.stop();
    if (this.place === this.clip.numbers.length - 1) this.place = 0;
    let due = performance.now();
    const step = (now) => {
      const wait = 1000 / Math.min(this.clip.fps * Number(element("speed").value), 50);
      const next = this.place + 1;
      if (next >= this.clip.numbers.length) return this.stop();
      if (now >= due && this.clip.images.get(next)?.bitmap && this.clip.poses(next)) {
        due = Math.max(due + wait, now - wait);
        this.seek(next);
      }
      this.timer = requestAnimationFrame(step);
    };
    this.timer = requestAnimationFrame(step);
    this.updateTexts();
  }

  stop() {
    if (!this.timer) return;
    cancelAnimationFrame(this.timer);
    this.timer = null;
    this.update();
  }

  setJoint(track, joint, x, y) {
    const person = this.poses().people.find(({ id }) => id === track);
    const at = [x, y].map((value) => Math.round(value * 100) / 100);
    const seen = person.v[joint] || 2;
    person.xy[joint] = at;
    person.v[joint] = seen;
    person.src[joint] = 1;
    this.showFrame();
    const name = this.clip.joints[joint];
    const around = { op: "propagate", track, joints: [name], around: this.number() };
    return this.clip.do({ op: "set_joints", track, frame: this.number(), joints: { [name]: [...at, seen] } }, ...(this.atOnce ? [around] : []));
  }

  async swap(text, frames) {
    const [track, other] = [this.track, await this.askOther(text)];
    for (const person of this.poses()?.people ?? []) {
      if (person.id === track) person.id = other;
      else if (person.id === other) person.id = track;
    }
    this.showFrame();
    return this.clip.do({ op: "swap", tracks: [track, other], frames });
  }

  placeAtPointer() {
    if (this.stage.pointer) return this.setJoint(this.track, this.joint, ...this.stage.toImage(...this.stage.pointer));
  }

  toggleAtOnce() {
    this.atOnce = !this.atOnce;
    localStorage.setItem("jmpose-at-once", this.atOnce ? "yes" : "no");
    this.note(this.atOnce ? "Joints that are put, and arms and legs that are exchanged, change the frames around, at once." : "Only this frame is changed; g propagates joints.");
    this.updateTexts();
  }

  // Waits for a box that is drawn with the pointer.
  draw(text, boxed) {
    this.stage.isBoxing = true;
    this.note(`${text} Esc leaves it.`, true);
    this.boxed = (corners) => {
      this.stopBoxing();
      return boxed(corners.map((value) => Math.round(value * 100) / 100));
    };
  }

  stopBoxing() {
    this.stage.isBoxing = false;
    this.note(null);
  }

  addPerson() {
    this.draw("Draw a box around the person.", (box) =>
      this.doAndSelect({ op: "add_person", frame: this.number(), box, joints: standing(this.clip.joints, box) }));
  }

  drawBox() {
    const track = this.track;
    this.draw(`Draw the box of ${track} anew.`, (box) => this.clip.do({ op: "set_box", track, frame: this.number(), box }));
  }

  estimate() {
    const person = this.person();
    if (person) return this.askModel(person.box);
    return this.draw(this.track == null ? "Draw a box around the person." : `Draw a box around ${this.track}.`, (box) => this.askModel(box));
  }

  async askModel(box) {
    this.note(this.isModelHere ? "Asking the model …" : "Loading the model, which takes some seconds the first time …", true);
    try {
      const operation = await this.clip.estimate({ frame: this.number(), box, ...this.whom() });
      this.isModelHere = true;
      await this.doAndSelect(operation);
    } finally {
      this.note(null);
    }
  }

  // Does what may add a person, and selects whoever is new.
  async doAndSelect(operation) {
    const before = new Set(this.clip.lanes.map(({ id }) => id));
    await this.clip.do(operation);
    const added = this.clip.lanes.find(({ id }) => !before.has(id));
    if (added) this.select(added.id, null);
  }

  async askOther(text) {
    if (this.other != null) return this.other;
    const ids = this.clip.lanes.map(({ id }) => id).filter((id) => id !== this.track);
    const id = await ask(text, ids);
    if (id === undefined) throw new Cancelled();
    return id;
  }

  async rename() {
    const id = await ask(`New id of track ${this.track}`, []);
    if (id === undefined) return;
    await this.clip.do({ op: "rename", track: this.track, new: id });
    this.select(id, this.joint);
  }

  review() {
    return this.clip.do({ op: "review", frames: this.frames(), reviewed: !this.poses()?.reviewed });
  }

  // Takes back or does again, and shows where.
  async turn(way) {
    const what = this.clip[way];
    if (!what) return this.note(`Nothing to ${way}.`);
    const { frames } = await this.clip.act(way);
    const number = this.number();
    if (frames?.length && !frames.some(([first, last]) => first <= number && number <= last)) this.seek(this.clip.placeOf.get(frames[0][0]));
    this.note(`${way === "undo" ? "Taken back" : "Done again"}: ${what}`);
  }

  nextTheme() {
    const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % THEMES.length];
    localStorage.setItem("jmpose-theme", theme);
    setTheme(theme);
    this.note(theme === "system" ? "Dark or light as the system is." : `Theme: ${theme}.`);
    this.update();
    this.timeline.draw();
  }

  async render() {
    this.note("Writing all files …", true);
    const { notes } = await this.clip.render().finally(() => this.note(null));
    this.note(["All files are up to date.", ...notes].join("\n"));
  }

  stepClip(step) {
    const next = this.clip.number + step;
    if (next >= 0 && next < this.clips.length) return this.open(next);
  }

  async nextClip() {
    await this.showProgress();
    const count = this.clips.length;
    const others = Array.from({ length: count - 1 }, (_, i) => (this.clip.number + 1 + i) % count);
    const next = others.find((number) => !isFinished(this.clips[number].progress));
    if (next === undefined) return this.note(count > 1 ? "All other clips are finished: reviewed, or without suspects." : "There is one clip only.");
    return this.open(next);
  }

  help() { element("help").showModal(); }

  run(command) {
    if (!this.clip) return undefined;
    if (command.needs && !this.has()[command.needs]) return this.say(LACKING[command.needs]);
    return this.guarded(() => command.run(this));
  }

  // Runs an action; what goes wrong is said.
  async guarded(action) {
    try {
      this.say(null);
      await action();
    } catch (error) {
      if (!(error instanceof Cancelled)) this.say(error);
    }
  }

  // What is wrong, until the next action.
  say(what) {
    element("said").hidden = what === null;
    element("said").textContent = what instanceof Error ? what.message : what ?? "";
  }

  // What was done or goes on; for a while, or until the next note.
  note(what, stays = false) {
    clearTimeout(this.noted);
    element("note").hidden = what === null;
    element("note").textContent = what ?? "";
    if (what !== null && !stays) this.noted = setTimeout(() => this.note(null), NOTE_MS);
  }
}

const LACKING = {
  track: "Select a person first (e).", person: "Select a person of this frame first (e).", joint: "Select a joint first (j).",
  suspect: "Go to a suspect first (n).", fix: "Nothing is advised here: correct it, or v says that it is right.",
};

// What is not known of a clip that was not opened is not told.
function progressText(progress) {
  const { frames, reviewed, suspects } = progress;
  const parts = [];
  if (isFinished(progress)) parts.push("✓");
  if (reviewed !== null) parts.push(`${reviewed} of ${frames} reviewed`);
  if (suspects !== null) parts.push(`${suspects} suspect${suspects === 1 ? "" : "s"}`);
  return parts.join(" · ") || "not opened yet";
}

const isFinished = ({ frames, reviewed, suspects }) => suspects === 0 || (reviewed !== null && reviewed >= frames);

function suspectsLeft({ total, isAll }) {
  if (total === null) return "looking for suspects …";
  return `${total} suspect${total === 1 ? "" : "s"} left${isAll ? "" : ", looking for more …"}`;
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

async function main() {
  history.replaceState(null, "", "/");
  const theme = localStorage.getItem("jmpose-theme");
  if (THEMES.includes(theme)) setTheme(theme);
  const clips = await get("");
  element("clips").replaceChildren(...clips.map(({ number, name }) => made("option", name, { value: number })));
  fillHelp();
  const review = new Review(clips);
  element("clips").onfocus = () => review.guarded(() => review.showProgress());
  element("clips").onchange = (event) => review.guarded(() => review.open(Number(event.target.value)));
  element("frame").onchange = (event) => {
    const place = review.clip.placeOf.get(Number(event.target.value));
    if (place === undefined) review.say(`The clip has frames ${review.clip.numbers[0]} to ${review.clip.numbers.at(-1)}.`);
    else review.seek(place);
  };
  element("brightness").oninput = (event) => {
    review.stage.brightness = Number(event.target.value);
    review.stage.draw();
  };
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input[type=number], select, dialog *");
    const isPressing = event.target.matches("button") && [" ", "Enter"].includes(event.key) && !event.shiftKey;
    const command = isTyping || isPressing || document.querySelector("dialog[open]") ? null : commandOf(event);
    if (!command || !review.clip) return;
    event.preventDefault();
    review.run(command);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => review.clip && review.update());
  setInterval(() => {
    if (document.visibilityState === "visible" && review.clip) review.clip.waiting.catch(() => {}).then(() => review.clip.poll()).catch((error) => review.say(error));
  }, POLL_MS);
  await review.guarded(() => review.open(0));
  document.documentElement.dataset.ready = "yes";
}

main().catch((error) => {
  element("said").hidden = false;
  element("said").textContent = error.message;
});
