// Says on standard output, a line of JSON each, what the reference client makes of the server at the given URL.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, authorization, post] = process.argv.slice(2);
const say = (...line) => console.log(JSON.stringify(line));

let pongs = 0;
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { authorization },
  keepAlive: 50,
  retryAttempts: 0,
  lazy: false,
  onNonLazyError: () => {},
  on: {
    connected: () => say("connected"),
    closed: (event) => say("closed", event.code, event.reason),
    pong: (received) => received && ++pongs === 2 && say("pongs"),
    ping: () => say("ping"),
  },
});

const ask = async (name, request) => {
  try {
    for await (const result of client.iterate(request)) say(name, result);
    say(name, "complete");
  } catch (error) {
    say(name, "error", Array.isArray(error) ? error.map((one) => one.extensions.code) : error.code ?? String(error));
  }
};

await ask("query", { query: "{ viewer { account { name } } }" });
await ask("syntax", { query: "{" });
await ask("unknown", { query: "query A { __typename }", operationName: "B" });
await ask("score", {
  query: "subscription($id: ID!) { scoreChanged(targetId: $id) { score { total } } }",
  variables: { id: post },
});
