// What every TypeScript client does: the same steps and the same report as exercise.py; calls are its third argument.
// CLIENT_PACKAGES names the directory whose node_modules has the client package.
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const packages = createRequire(join(process.env.CLIENT_PACKAGES ?? process.cwd(), "package.json"));
export const INFO = { name: "toolway-test-client", version: "1.0.0" };
export const CAPABILITIES = { elicitation: {}, sampling: {}, roots: { listChanged: true } };
export const ANSWER = { action: "accept", content: { answer: "forty-two" } };
export const SAMPLED = {
  role: "assistant",
  content: { type: "text", text: "a sampled text" },
  model: "test-model",
  stopReason: "endTurn",
};
export const ROOTS = { roots: [{ uri: "file:///tmp/a-root", name: "a root" }] };

const STEP_MS = 15_000;
const POLL_MS = 50;
const WATCHED = "test://watched-resource";
const ECHOED = { text: "héllo 😀", big: 9007199254740991, nested: { empty: [], null: null } };

// client: an SDK client; logs and events: arrays that its notification handlers fill;
// follow(uri): begins to receive list changes and updates of the URI
export async function run(name, protocol, client, logs, events, follow) {
  const call = async (tool, args = {}, options = {}) =>
    client.callTool({ name: tool, arguments: args }, options);
  const outcome = async (tool, args) => {
    const result = await call(tool, args);
    return [result.content[0].text, result.isError === true];
  };
  const text = async (tool, args) => (await call(tool, args)).content[0].text;
  const names = async (list, items, key) => {
    const found = [];
    let cursor;
    do {
      const page = await list.call(client, cursor === undefined ? {} : { cursor });
      found.push(...page[items].map((item) => item[key]));
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return found.sort();
  };
  const provoke = async (tool, event) => {
    events.length = 0;
    while (!events.includes(event)) {
      await text(tool, {});
      await until(() => events.includes(event), 2000);
    }
    return true;
  };
  const tools = () => names(client.listTools, "tools", "name");
  const calls = Object.entries(JSON.parse(process.argv[4] ?? "{}"));
  const told = Object.fromEntries(calls.map(([tool, args]) => [tool, () => outcome(tool, args)]));
  const everything = {
    tools,
    prompts: () => names(client.listPrompts, "prompts", "name"),
    resources: () => names(client.listResources, "resources", "uri"),
    templates: () => names(client.listResourceTemplates, "resourceTemplates", "uriTemplate"),
    echo: async () => JSON.stringify(JSON.parse(await text("echo", ECHOED))) === JSON.stringify(ECHOED),
    failing: () => outcome("test_error_handling"),
    progress: async () => {
      const seen = [];
      await call("test_tool_with_progress", {}, { onprogress: (step) => seen.push(step.progress) });
      await until(() => seen.length >= 3);
      return seen;
    },
    logs: async () => {
      logs.length = 0;
      await call("test_tool_with_logging");
      await until(() => logs.length >= 3);
      return logs;
    },
    prompt: async () => {
      const params = { name: "test_prompt_with_arguments", arguments: { arg1: "one", arg2: "two" } };
      return (await client.getPrompt(params)).messages[0].content.text;
    },
    read: async () => (await client.readResource({ uri: "test://static-text" })).contents[0].text,
    template: async () => (await client.readResource({ uri: "test://template/7/data" })).contents[0].text,
    missing: async () => {
      try {
        await client.readResource({ uri: "test://no-such-resource" });
        return "not refused";
      } catch (error) {
        return `refused: ${error.message}`;
      }
    },
    completion: async () => {
      const ref = { type: "ref/prompt", name: "test_prompt_with_arguments" };
      return (await client.complete({ ref, argument: { name: "arg1", value: "pa" } })).completion.values;
    },
    elicitation: async () => JSON.parse(await text("ask_elicitation", { message: "what?" })),
    often: async () => JSON.parse(await text("ask_often", { times: 3 })),
    sampling: async () => JSON.parse(await text("ask_sampling", { prompt: "say" })),
    roots: async () => JSON.parse(await text("ask_roots", {})),
    cancellation: async () => {
      const before = await text("cancelled_count", {});
      const abort = new AbortController();
      const slow = call("slow", { seconds: 60 }, { signal: abort.signal }).catch(() => null);
      while ((await text("running_count", {})) === "0") await sleep(POLL_MS);
      abort.abort("the test cancels");
      await slow;
      while ((await text("cancelled_count", {})) === before) await sleep(POLL_MS);
      return true;
    },
    updated: async () => {
      await follow(WATCHED);
      return provoke("bump_resource", `resources/updated ${WATCHED}`);
    },
    list_changed: async () => {
      const appeared = await provoke("add_tool", "tools/list_changed");
      while (!(await tools()).includes("added_tool")) await sleep(POLL_MS);
      const gone = await provoke("remove_tool", "tools/list_changed");
      while ((await tools()).includes("added_tool")) await sleep(POLL_MS);
      return [appeared, gone];
    },
  };
  const steps = calls.length ? { tools, ...told } : everything;
  const report = { client: name, protocol };
  for (const [step, act] of Object.entries(steps)) {
    try {
      report[step] = await Promise.race([act(), late()]);
    } catch (error) {
      report[step] = { error: `${error.name}: ${error.message}` };
    }
  }
  console.log(JSON.stringify(report, null, 1));
}

async function until(holds, milliseconds = 5000) {
  const end = Date.now() + milliseconds;
  while (!holds() && Date.now() < end) await sleep(POLL_MS);
}

async function late() {
  await sleep(STEP_MS, null, { ref: false });
  throw new Error("the step took too long");
}
