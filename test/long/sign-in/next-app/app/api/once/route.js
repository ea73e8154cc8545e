import { withGuard } from 'holdfast/next'

// Its own limit is spent by one request: only the proxy's decision lets a second one in.
export const GET = withGuard(
  (request) =>
    Response.json(
      { composed: request.headers.get('x-composed') },
      { status: Number(new URL(request.url).searchParams.get('status') ?? 200) },
    ),
  { remoteAddress: () => '127.0.0.1', shedding: false, rules: { '/*': '1/month' } },
)
