// Drives a server with @modelcontextprotocol/sdk 1.x, which knows only the legacy era.
import { load, run, target } from './steps.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = load('@modelcontextprotocol/sdk/client/stdio.js');
const { SSEClientTransport } = load('@modelcontextprotocol/sdk/client/sse.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');

const client = new Client({ name: 'gpumcp-tests', version: '1' });
const transport = target.mode === 'sse'
  ? new SSEClientTransport(new URL(target.url))
  : target.url
  ? new StreamableHTTPClientTransport(new URL(target.url))
  : new StdioClientTransport({ command: target.command, args: target.args, env: target.env });
let version;
transport.setProtocolVersion = ((original) => (value) => { version = value; original?.call(transport, value); })(
  transport.setProtocolVersion,
);
await client.connect(transport);
await run(client, version);
