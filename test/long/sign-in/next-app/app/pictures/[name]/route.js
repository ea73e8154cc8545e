const DOT = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

export const GET = () => new Response(Buffer.from(DOT, 'base64'), { headers: { 'content-type': 'image/png' } })
