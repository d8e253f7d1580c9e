// The page: what is selected, where in time it is, and what follows when either changes.
import { get } from "./api.js";
import { Clip } from "./clip.js";
import { commandOf, standing } from "./commands.js";
import { ask, element, fillHelp, fillPeople, fillSuspects, made, makeButtons } from "./panels.js";
import { Stage } from "./stage.js";
import { Timeline, drawPlot } from "./timeline.js";

const AHEAD = 10;
const POLL_MS = 3000;

class Cancelled extends Error {}

class Review {
  constructor(clips) {
    Object.assign(this, { clips, place: 0, track: null, joint: null, other: null, range: null, suspectPlace: -1 });
    this.stage = new Stage(element("picture"), {
      select: (track, joint) => this.select(track, joint),
      selectOther: (track) => this.selectOther(track),
      drop: (track, joint, x, y) => this.guarded(() => this.setJoint(track, joint, x, y)),
      place: (x, y) => this.guarded(() => this.setJoint(this.track, this.joint, x, y)),
      box: (corners) => this.guarded(() => this.addBox(corners)),
    });
    this.timeline = new Timeline(element("lanes"), (place, track) => {
      if (track !== undefined) this.select(track, this.joint);
      this.seek(place);
    });
    this.buttons = makeButtons(this);
  }

  async open(number) {
    this.stop();
    const clip = await Clip.load(number);
    Object.assign(this, { clip, place: 0, track: null, joint: null, other: null, range: null, suspectPlace: -1, looked: null });
    element("clips").value = number;
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

  seek(place) {
    this.place = Math.min(Math.max(place, 0), this.clip.numbers.length - 1);
    this.update();
  }

  update() {
    const { clip, place } = this;
    const isHere = () => clip === this.clip && place === this.place;
    const last = Math.min(place + AHEAD, clip.numbers.length - 1);
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
    if (!this.timer) drawPlot(element("plot"), clip, this);
    fillPeople(this);
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
      `${seen} of ${count} frames reviewed (${Math.floor((100 * seen) / count)} %) · ${clip.suspects.length} suspects left · ${clip.steps} correction${clip.steps === 1 ? "" : "s"}`;
    if (document.activeElement !== element("frame")) element("frame").value = this.number();
    const poses = this.poses();
    const range = this.range ? ` · range ${this.frames()[0]} to ${this.frames()[1] - 1}` : "";
    element("where").textContent = `${poses ? `${poses.t.toFixed(3)} s` : ""}${poses?.reviewed ? " · reviewed" : ""}${range}`;
    const has = { track: this.track != null, person: !!this.person(), joint: !!this.person() && this.joint != null };
    for (const [command, button] of this.buttons) {
      button.disabled = (command.needs && !has[command.needs])
        || (command.label === "Undo" && !clip.undo) || (command.label === "Redo" && !clip.redo)
        || (command.label === "Next clip" && this.clips.length < 2) || (command.label === "Next suspect" && !clip.suspects.length);
      if (command.label === "Undo") button.title = clip.undo ? `Undo: ${clip.undo}` : "Nothing to undo";
      if (command.label === "Redo") button.title = clip.redo ? `Redo: ${clip.redo}` : "Nothing to redo";
      if (command.label === "Play") button.firstChild.data = this.timer ? "Stop" : "Play";
    }
    element("picture").setAttribute("aria-label", `Frame ${this.number()}, people: ${poses?.people.map(({ id }) => id).join(", ") || "none"}`);
  }

  updateSuspects() {
    // The one that was looked at, where it still is; else the next begins where it was.
    const place = this.clip.suspects.findIndex((one) => one.kind === this.looked?.kind && one.at === this.looked.at
      && one.tracks[0] === this.looked.tracks[0]);
    if (place >= 0) this.suspectPlace = place;
    else if (this.looked) Object.assign(this, { suspectPlace: this.suspectPlace - 1, looked: null });
    fillSuspects(this);
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
    this.stage.isBoxing = false;
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

  suspect(step) {
    const count = this.clip.suspects.length;
    if (count) this.goTo((Math.max(this.suspectPlace, step > 0 ? -1 : 0) + step + count) % count);
  }

  goTo(place) {
    const suspect = this.clip.suspects[place];
    Object.assign(this, { suspectPlace: place, looked: suspect });
    const joint = this.clip.joints.indexOf(suspect.joints[0]);
    Object.assign(this, { track: suspect.tracks[0], joint: joint < 0 ? null : joint, other: suspect.tracks[1] ?? null });
    this.seek(this.clip.placeOf.get(suspect.at));
    fillSuspects(this);
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
    return this.clip.do({ op: "set_joints", track, frame: this.number(), joints: { [this.clip.joints[joint]]: [...at, seen] } });
  }

  placeAtPointer() {
    if (this.stage.pointer) return this.setJoint(this.track, this.joint, ...this.stage.toImage(...this.stage.pointer));
  }

  addPerson() {
    this.stage.isBoxing = true;
    this.say("Draw a box around the person; Esc leaves it.");
  }

  async addBox(corners) {
    this.stage.isBoxing = false;
    this.say(null);
    const box = corners.map((value) => Math.round(value * 100) / 100);
    const before = new Set(this.clip.lanes.map(({ id }) => id));
    await this.clip.do({ op: "add_person", frame: this.number(), box, joints: standing(this.clip.joints, box) });
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

  turn(way) {
    if (this.clip[way]) return this.clip.act(way);
  }

  async render() {
    this.say("Writing …");
    const { notes } = await this.clip.render();
    this.say(["All files are up to date.", ...notes].join("\n"));
  }

  stepClip(step) {
    const next = this.clip.number + step;
    if (next >= 0 && next < this.clips.length) return this.open(next);
  }

  help() { element("help").showModal(); }

  run(command) {
    const has = { track: this.track != null, person: !!this.person(), joint: !!this.person() && this.joint != null };
    if (command.needs && !has[command.needs]) {
      return this.say(command.needs === "joint" ? "Select a joint first (j)." : "Select a person first (e).");
    }
    return this.guarded(() => command.run(this));
  }

  // Runs an action; what goes wrong is said.
  async guarded(action) {
    try {
      const done = action();
      if (done instanceof Promise) {
        if (!this.stage.isBoxing) this.say(null);
        await done;
      }
    } catch (error) {
      if (!(error instanceof Cancelled)) this.say(error);
    }
  }

  say(what) {
    element("said").hidden = what === null;
    element("said").textContent = what instanceof Error ? what.message : what ?? "";
  }
}

async function main() {
  history.replaceState(null, "", "/");
  const clips = await get("");
  element("clips").replaceChildren(...clips.map(({ number, name }) => made("option", name, { value: number })));
  fillHelp();
  const review = new Review(clips);
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
    const isPressing = event.target.matches("button") && [" ", "Enter"].includes(event.key);
    const command = isTyping || isPressing || document.querySelector("dialog[open]") ? null : commandOf(event);
    if (!command || !review.clip) return;
    event.preventDefault();
    review.run(command);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => review.clip && review.update());
  new ResizeObserver(() => review.clip && drawPlot(element("plot"), review.clip, review)).observe(element("plot"));
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
