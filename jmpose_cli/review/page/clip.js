// A clip as the page knows it: its frames and tracks, the poses of the frames that are near, and actions on it.
import { get, getImage, post } from "./api.js";

const CHUNK = 64;
const MOST_CHUNKS = 40;
const MOST_IMAGES = 90;
const SUSPECTS = 1000;

export class Clip extends EventTarget {
  static async load(number) {
    const clip = new Clip();
    clip.number = number;
    Object.assign(clip, await get(`/${number}`));
    clip.numbers = clip.frames.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
    clip.placeOf = new Map(clip.numbers.map((n, place) => [n, place]));
    clip.chunks = new Map();
    clip.images = new Map();
    Object.assign(clip, { near: 0, suspects: [], most: SUSPECTS, total: null, isAll: false });
    clip.waiting = Promise.resolve();
    clip.pending = 0; // actions that wait for their answers
    return clip;
  }

  // The poses of a frame by its place; undefined until they are here, then "change" says so.
  poses(place) {
    const number = Math.floor(place / CHUNK);
    const chunk = this.chunks.get(number);
    if (!chunk) this.fetchChunk(number);
    else if (chunk.isStale && !chunk.isComing) this.fetchChunk(number);
    return chunk?.frames?.[place - number * CHUNK];
  }

  async fetchChunk(number) {
    const chunk = this.chunks.get(number) ?? {};
    this.chunks.set(number, chunk);
    Object.assign(chunk, { isComing: true, isStale: false });
    if (this.chunks.size > MOST_CHUNKS) this.chunks.delete(this.chunks.keys().next().value);
    const part = this.numbers.slice(number * CHUNK, (number + 1) * CHUNK);
    try {
      const frames = [];
      let revision = Infinity;
      for (let first = part[0]; first <= part.at(-1); first += 512) {
        const end = Math.min(first + 512, part.at(-1) + 1);
        const answer = await get(`/${this.number}/poses?first=${first}&end=${end}`);
        frames.push(...answer.frames);
        revision = Math.min(revision, answer.revision);
      }
      // What is shown may be ahead of it: an action is under way, or was done meanwhile.
      if (chunk.frames && (this.pending || revision < this.revision)) chunk.isStale = true;
      else chunk.frames = frames;
    } catch (error) {
      this.dispatchEvent(new CustomEvent("failed", { detail: error }));
    }
    chunk.isComing = false;
    this.dispatchEvent(new Event("change"));
  }

  // The picture of a frame: a promise, kept for a while.
  image(place) {
    let found = this.images.get(place);
    if (!found) {
      const stopper = new AbortController();
      found = getImage(`/${this.number}/frames/${this.numbers[place]}`, stopper.signal);
      found.stop = () => stopper.abort();
      found.then((bitmap) => { found.bitmap = bitmap; }, () => { if (this.images.get(place) === found) this.images.delete(place); });
    }
    this.images.delete(place);
    this.images.set(place, found);
    if (this.images.size > MOST_IMAGES) {
      const [oldest, image] = this.images.entries().next().value;
      this.images.delete(oldest);
      image.then((bitmap) => bitmap.close(), () => {});
    }
    return found;
  }

  // The server reads pictures of these places before they are asked for.
  wantSoon(places) {
    const frames = places.map((place) => this.numbers[place]);
    if (this.soon === frames.join()) return;
    this.soon = frames.join();
    post(`/${this.number}/soon`, { frames }).catch(() => {});
  }

  // Pictures that are still to come and no longer wanted leave their connections to others.
  keepOnly(first, last) {
    for (const [place, image] of this.images) {
      if (!image.bitmap && (place < first || place > last)) {
        this.images.delete(place);
        image.stop();
      }
    }
  }

  async findSuspects() {
    const { suspects, total, is_all: isAll } = await get(`/${this.number}/suspects?most=${this.most}`);
    Object.assign(this, { suspects, total, isAll });
    if (!isAll) this.findSuspectsIn(2000);
    this.found = (this.found ?? 0) + 1;
    this.dispatchEvent(new Event("suspects"));
  }

  // Those that follow the worst ones that are here.
  findMoreSuspects() {
    this.most = this.suspects.length + SUSPECTS;
    return this.findSuspects();
  }

  // Actions come one after the other; each names the revision that was looked at.
  act(path, body = {}) {
    this.pending++;
    this.waiting = this.waiting.catch(() => {}).then(async () => {
      try {
        const answer = await post(`/${this.number}/${path}`, { revision: this.revision, frame: this.numbers[this.near], ...body });
        this.take(answer);
        return answer;
      } catch (error) {
        await this.poll();
        this.forget(null);
        throw error;
      } finally {
        if (--this.pending === 0) this.dispatchEvent(new Event("change"));
      }
    });
    return this.waiting;
  }

  do(...operations) {
    return this.act("operations", { operations });
  }

  // Asks the model; the operation that it gives is not done yet.
  async estimate(wanted) {
    return (await post(`/${this.number}/estimate`, wanted)).operation;
  }

  render() {
    return post(`/${this.number}/render`, {});
  }

  async poll() {
    const answer = await get(`/${this.number}/changes?since=${this.revision}`);
    if (answer.revision !== this.revision) this.take(answer);
  }

  take(answer) {
    const { frames, lanes, gone, here = [], ...standing } = answer;
    for (const frame of this.pending > 1 ? [] : here) { // what is looked at is shown at once, the frames around come after
      const place = this.placeOf.get(frame.n);
      const known = this.chunks.get(Math.floor(place / CHUNK))?.frames;
      if (known) known[place % CHUNK] = frame;
    }
    const kept = frames ? this.lanes.filter(({ id }) => !gone.includes(id) && !lanes.some((lane) => lane.id === id)) : [];
    Object.assign(this, standing);
    this.lanes = [...kept, ...lanes].sort((a, b) => a.present[0][0] - b.present[0][0] || a.id - b.id);
    this.forget(frames);
  }

  // Poses of changed frames come anew; the old ones are shown until then.
  forget(frames) {
    for (const [number, chunk] of this.chunks) {
      const first = this.numbers[number * CHUNK];
      const last = this.numbers[Math.min((number + 1) * CHUNK, this.numbers.length) - 1];
      if (!frames || frames.some(([a, b]) => a <= last && b >= first)) chunk.isStale = true;
    }
    this.dispatchEvent(new Event("change"));
    this.findSuspectsIn(600);
  }

  findSuspectsIn(ms) {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.findSuspects().catch(() => {}), ms);
  }
}
