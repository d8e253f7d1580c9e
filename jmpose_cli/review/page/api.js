// Requests to the server; what goes wrong is an ApiError with what to do about it.

export class ApiError extends Error {
  constructor(message, hint, status) {
    super(hint ? `${message}\n${hint}` : message);
    this.isStale = status === 409;
  }
}

async function answered(request) {
  let answer;
  try {
    answer = await request;
  } catch {
    throw new ApiError("The server does not answer", "it was ended, or start it again: jmpose review", 0);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({ error: `error ${answer.status}`, hint: "" }));
  throw new ApiError(told.error, told.hint, answer.status);
}

export const get = async (path) => (await answered(fetch(`/api/clips${path}`))).json();

export const getImage = async (path, signal) =>
  createImageBitmap(await (await answered(fetch(`/api/clips${path}`, { signal }))).blob());

export async function post(path, body) {
  const headers = { "content-type": "application/json" };
  return (await answered(fetch(`/api/clips${path}`, { method: "POST", headers, body: JSON.stringify(body) }))).json();
}
