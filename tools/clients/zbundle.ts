// A client of `zbundle serve --http 127.0.0.1:PORT` in one file: copy it beside your program. It uses only what every runtime has (fetch and
// streams: Node 18 or later, Deno, Bun), imports nothing, and its types can be stripped without being compiled.
//
//   const node = new Zbundle("http://127.0.0.1:7780", token);            // what stands in http.token of the data directory
//   await node.push({ bp: "120/80" }, { idempotencyKey: "form-17", type: "vitals", key: "Patient/BT-0042" });
//   for await (const event of node.events(cursor)) cursor = event.cursor;   // what is there now
//   for await (const event of node.follow(cursor)) cursor = event.cursor;   // that, and then whatever comes
//
// `push` resolves once the event is on the node's disk. It always sends an idempotency key, so it may try again after a lost answer, and does, for
// `patienceMs`. Give it a key that you have kept before: then your program may be killed and push again, too. docs/http-api.md tells the fields.

/** What is said of an event beside its payload. */
export interface Fields {
  idempotencyKey?: string;
  contentType?: string;
  type?: string;
  key?: string;
  lane?: "urgent" | "routine" | "bulk";
  base?: string[];
  author?: string;
  to?: string[];
}

/** An event as it was stored. */
export interface StoredEvent {
  cursor: string;
  id: string;
  node: string;
  lane: string;
  type: string;
  key: string | null;
  time: string | null;
  author: string | null;
  content_type: string | null;
  /** The id of the event that this one repeats, after its node had lost it. */
  orig?: string;
  /** Written under an ended key: it counts nowhere until the authority accepts it. */
  after_revoke?: true;
  payload?: string;
  payload_base64?: string;
}

/** What `push` resolves to: the event is on the disk. */
export interface Stored {
  id: string;
  replayed?: boolean;
}

/** What the node says when it refuses (RFC 9457). */
export interface Problem {
  code?: string;
  title?: string;
  detail?: string;
  error?: string;
  line?: number;
}

/** The node said no: trying again will not help. */
export class Refused extends Error {
  readonly status: number;
  readonly problem: Problem;
  constructor(status: number, problem: Problem) {
    super(`${status} ${problem.code ?? ""} ${problem.title ?? ""}: ${problem.detail ?? ""}`);
    this.status = status;
    this.problem = problem;
  }
}

/** Longer and longer pauses, never all clients at the same moment, until there is no patience left. */
class Patience {
  private readonly until: number;
  private pauseMs = 100;
  constructor(patienceMs: number) {
    this.until = Date.now() + patienceMs;
  }
  async wait(why: unknown): Promise<void> {
    if (why instanceof Refused || Date.now() >= this.until) throw why;
    const pauseMs = this.pauseMs * (0.5 + Math.random() / 2);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    this.pauseMs = Math.min(this.pauseMs * 2, 10_000);
  }
}

/** A key that nobody else has; it need not be secret, and not every runtime has `crypto`. */
function newKey(): string {
  const digits = () => Math.random().toString(36).slice(2);
  return `${Date.now().toString(36)}-${digits()}${digits()}`;
}

/** May be better next time. */
class Later extends Error {}

export class Zbundle {
  private readonly address: string;
  private readonly token: string;
  private readonly patienceMs: number;

  constructor(address: string, token: string, patienceMs = 60_000) {
    this.address = address;
    this.token = token;
    this.patienceMs = patienceMs;
  }

  /** Store one payload: text or bytes as they are, anything else as JSON. */
  async push(payload: unknown, fields: Fields = {}): Promise<Stored> {
    const { idempotencyKey, contentType, ...query } = fields;
    const headers = { "Content-Type": contentType ?? "application/json", "Idempotency-Key": idempotencyKey ?? newKey() };
    const body = typeof payload === "string" || payload instanceof Uint8Array ? payload : JSON.stringify(payload);
    return this.patiently(async () => (await this.ask("POST", "/v1/events", query, headers, body)).json());
  }

  /** Every event behind the cursor `after` that is there now. */
  async *events(after = "0", query: { key?: string; lane?: string; limit?: number } = {}): AsyncGenerator<StoredEvent> {
    for (let more = true; more; ) {
      const asked = { ...query, after };
      const page = await this.patiently(async () => (await this.ask("GET", "/v1/events", asked)).json());
      yield* page.events;
      after = page.next;
      more = page.more;
    }
  }

  /** Every event behind `after`, then those that come, for ever: over broken lines and restarts of the node, none missed and none twice. */
  async *follow(after = "0", query: { key?: string; lane?: string } = {}): AsyncGenerator<StoredEvent> {
    let patience = new Patience(this.patienceMs);
    for (;;) {
      const stop = new AbortController();
      try {
        const response = await this.ask("GET", "/v1/stream", query, { "Last-Event-ID": after }, undefined, stop.signal);
        for await (const [cursor, event] of serverSent(response, stop)) {
          after = cursor;
          patience = new Patience(this.patienceMs);
          yield event;
        }
        throw new Later("the stream ended");
      } catch (why) {
        await patience.wait(why);
      } finally {
        stop.abort();
      }
    }
  }

  private async patiently<T>(ask: () => Promise<T>): Promise<T> {
    for (const patience = new Patience(this.patienceMs); ; ) {
      try {
        return await ask();
      } catch (why) {
        await patience.wait(why);
      }
    }
  }

  private async ask(method: string, path: string, query: object, headers: object = {}, body?: string | Uint8Array, signal?: AbortSignal): Promise<Response> {
    const address = new URL(path, this.address);
    for (const [name, values] of Object.entries(query)) {
      for (const value of Array.isArray(values) ? values : [values]) {
        if (value !== undefined) address.searchParams.append(name, String(value));
      }
    }
    const response = await fetch(address, { method, headers: { ...headers, Authorization: `Bearer ${this.token}` }, body: body as BodyInit, signal });
    if (response.ok) return response;
    const problem: Problem = await response.json();
    if ([429, 500, 502, 503, 504].includes(response.status)) throw new Later(`${response.status} ${problem.code} ${problem.detail}`);
    throw new Refused(response.status, problem);
  }
}

/** The stream sends something every 15 s: silence for so long means that the line is dead. */
const SILENCE_MS = 45_000;

/** Whole server-sent events, each with its cursor. One that breaks off in its middle is not told; it comes again. */
async function* serverSent(response: Response, stop: AbortController): AsyncGenerator<[string, StoredEvent]> {
  const reader = response.body!.getReader();
  const decoder = new TextDecoder();
  let waiting = "";
  for (;;) {
    const silence = setTimeout(() => stop.abort(), SILENCE_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(silence));
    if (done) return;
    waiting += decoder.decode(value, { stream: true });
    for (let end; (end = waiting.indexOf("\n\n")) >= 0; waiting = waiting.slice(end + 2)) {
      const lines = waiting.slice(0, end).split("\n");
      const said = (name: string) => lines.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length));
      const [cursor] = said("id: ");
      const data = said("data: ");
      if (cursor !== undefined && data.length > 0) yield [cursor, JSON.parse(data.join("\n"))];
    }
  }
}
