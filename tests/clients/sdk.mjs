// Calls tools through the TypeScript SDK: what to do comes as JSON on stdin, what came of it goes as JSON to stdout.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

let input = "";
for await (const piece of process.stdin) input += piece;
const { command, args, env, calls } = JSON.parse(input);

const client = new Client({ name: "typescript-sdk", version: "1" });
await client.connect(new StdioClientTransport({ command, args, env, stderr: "inherit" }));
const listed = await client.listTools(); // from here on it checks structured content against the tools' schemas
const results = [];
for (const { name, arguments: given } of calls) {
  results.push(await client.callTool({ name, arguments: given }, undefined, { timeout: 60_000 }));
}
const about = { server: client.getServerVersion(), instructions: client.getInstructions() };
await client.close();
process.stdout.write(JSON.stringify({ ...about, tools: listed.tools, results }));
