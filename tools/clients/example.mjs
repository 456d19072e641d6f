// How a program uses zbundle.ts; compile that first: tsc --strict --target es2022 --module es2022 --lib es2022,dom,dom.iterable zbundle.ts
//
//   node example.mjs http://127.0.0.1:7780 push KEY PAYLOAD | events [after] | follow [after]     (the token in ZBUNDLE_TOKEN)
import { Refused, Zbundle } from "./zbundle.js";

const [address, what, ...rest] = process.argv.slice(2);
const node = new Zbundle(address, process.env.ZBUNDLE_TOKEN ?? "");
try {
  if (what === "push") {
    console.log(JSON.stringify(await node.push(rest[1], { idempotencyKey: rest[0], key: "r", author: "a b" })));
  } else {
    for await (const event of what === "events" ? node.events(rest[0]) : node.follow(rest[0])) console.log(JSON.stringify(event));
  }
} catch (error) {
  console.error(String(error));
  process.exitCode = error instanceof Refused ? 3 : 16;
}
