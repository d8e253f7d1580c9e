// Colours that people with any colour vision tell apart (Okabe and Ito), one a track.
const SAFE = ["#e69f00", "#56b4e9", "#2bc29a", "#f0e442", "#3f8fd2", "#ee7733", "#cc79a7", "#9d8cff"];

export const colourOf = (track) => SAFE[track % SAFE.length];

export const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
