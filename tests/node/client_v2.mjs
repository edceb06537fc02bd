// Drives a server with @modelcontextprotocol/client 2.x in the era that `mode` says: legacy, auto or a version to pin;
// a URL that ends in /sse is one of HTTP+SSE.
import { capabilities, elicited, load, run, sampled, target } from './steps.mjs';

const { Client, SSEClientTransport, StreamableHTTPClientTransport } = load('@modelcontextprotocol/client');
const { StdioClientTransport } = load('@modelcontextprotocol/client/stdio');

const mode = ['legacy', 'auto'].includes(target.mode) ? target.mode : { pin: target.mode };
const client = new Client({ name: 'gpumcp-tests', version: '1' }, { capabilities, versionNegotiation: { mode } });
client.setRequestHandler('elicitation/create', elicited);
client.setRequestHandler('sampling/createMessage', sampled);
const transport = target.url?.endsWith('/sse')
  ? new SSEClientTransport(new URL(target.url))
  : target.url
  ? new StreamableHTTPClientTransport(new URL(target.url))
  : new StdioClientTransport({ command: target.command, args: target.args, env: target.env });
await client.connect(transport);
const era = client.getProtocolEra();
if ((era === 'modern') !== (mode !== 'legacy')) throw new Error(`mode ${target.mode} gave the ${era} era`);
await run(client, client.getNegotiatedProtocolVersion());
