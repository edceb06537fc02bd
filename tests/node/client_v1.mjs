// Drives a server with @modelcontextprotocol/sdk 1.x, which knows only the legacy era.
import { capabilities, elicited, load, run, sampled, target } from './steps.mjs';

const { Client } = load('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = load('@modelcontextprotocol/sdk/client/stdio.js');
const { SSEClientTransport } = load('@modelcontextprotocol/sdk/client/sse.js');
const { StreamableHTTPClientTransport } = load('@modelcontextprotocol/sdk/client/streamableHttp.js');

const { CreateMessageRequestSchema, ElicitRequestSchema } = load('@modelcontextprotocol/sdk/types.js');

const client = new Client({ name: 'gpumcp-tests', version: '1' }, { capabilities });
client.setRequestHandler(ElicitRequestSchema, elicited);
client.setRequestHandler(CreateMessageRequestSchema, sampled);
target.v1 = true;
const transport = target.url?.endsWith('/sse')
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
