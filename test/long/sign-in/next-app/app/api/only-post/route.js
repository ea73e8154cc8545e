export const POST = () => new Response(null, { headers: { 'x-ran': 'only-post' } })
