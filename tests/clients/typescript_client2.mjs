// The TypeScript client 2.x: CLIENT_PACKAGES=DIR node typescript_client2.mjs URL [default|auto [CALLS]]; prints the report.
// By default it speaks the legacy wire; "auto" probes for the modern one.
import { ANSWER, CAPABILITIES, INFO, ROOTS, SAMPLED, packages, run } from "./exercise.mjs";

const { Client, StreamableHTTPClientTransport } = packages("@modelcontextprotocol/client");

const [url, mode = "default"] = process.argv.slice(2);
const logs = [];
const events = [];
const negotiation = mode === "auto" ? { versionNegotiation: { mode: "auto" } } : {};
const client = new Client(INFO, { capabilities: CAPABILITIES, ...negotiation });
client.setRequestHandler("elicitation/create", async () => ANSWER);
client.setRequestHandler("sampling/createMessage", async () => SAMPLED);
client.setRequestHandler("roots/list", async () => ROOTS);
client.setNotificationHandler("notifications/message", (message) => logs.push(message.params.data));
client.setNotificationHandler("notifications/tools/list_changed", () => events.push("tools/list_changed"));
client.setNotificationHandler("notifications/resources/updated", (message) =>
  events.push(`resources/updated ${message.params.uri}`),
);
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const protocol = client.getNegotiatedProtocolVersion();
const modern = protocol >= "2026";
if (modern) {
  const call = client.callTool.bind(client);
  const level = { "io.modelcontextprotocol/logLevel": "debug" };
  client.callTool = (params, options) => call({ ...params, _meta: level }, options);
}
const follow = (uri) =>
  modern
    ? client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] })
    : client.subscribeResource({ uri });
await run(`typescript-client2 ${mode}`, protocol, client, logs, events, follow);
await client.close();
process.exit(0);
