// The TypeScript SDK 1.x client: CLIENT_PACKAGES=DIR node typescript_sdk1.mjs URL [http|sse [CALLS]]; prints the report.
import { ANSWER, CAPABILITIES, INFO, ROOTS, SAMPLED, packages, run } from "./exercise.mjs";

const { Client } = packages("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = packages("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { SSEClientTransport } = packages("@modelcontextprotocol/sdk/client/sse.js");
const types = packages("@modelcontextprotocol/sdk/types.js");

const [url, mode = "http"] = process.argv.slice(2);
const logs = [];
const events = [];
const client = new Client(INFO, { capabilities: CAPABILITIES });
client.setRequestHandler(types.ElicitRequestSchema, async () => ANSWER);
client.setRequestHandler(types.CreateMessageRequestSchema, async () => SAMPLED);
client.setRequestHandler(types.ListRootsRequestSchema, async () => ROOTS);
client.setNotificationHandler(types.LoggingMessageNotificationSchema, (message) => logs.push(message.params.data));
client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => events.push("tools/list_changed"));
client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, (message) =>
  events.push(`resources/updated ${message.params.uri}`),
);
const call = client.callTool.bind(client);
client.callTool = (params, options) => call(params, undefined, options);
const transport =
  mode === "sse" ? new SSEClientTransport(new URL(url)) : new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);
const protocol = transport.protocolVersion ?? transport._protocolVersion;
await run(`typescript-sdk1 ${mode}`, protocol, client, logs, events, (uri) => client.subscribeResource({ uri }));
await client.close();
process.exit(0);
